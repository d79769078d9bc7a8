"""The other side of `scratchgpt compare`: transformers' model of the same family, built, run and listened to.

Imported only where PyTorch and transformers are installed.
"""

from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import transformers

from scratchgpt import interop
from scratchgpt.check.lockstep.report import compare_tensors
from scratchgpt.errors import InputError

ADVICE = "its modules are known as transformers 5 names them: pip install '.[compare]'"


class Run(NamedTuple):
    """What a run of the twin gave: NumPy arrays under our names."""

    sites: tuple  # the ops' names
    values: dict  # tensor of the forward pass -> value
    grads: dict  # the same tensors -> d loss / d tensor
    memory: dict  # "forward" or "backward" -> {tensor: (the memory it lies in, which part of it, None for all)}
    weight_grads: dict  # parameter -> d loss / d parameter
    norms: list  # of the gradient at each step of AdamW
    weights: dict  # parameter -> its value after those steps
    last_grads: dict  # parameter -> the clipped gradient of the last of them
    steadiness: dict  # parameter -> the smallest sqrt(vhat) + eps of these steps, in units of the unclipped gradient


class Twin:
    """transformers' model with eager attention and without dropout: with our configuration and weights, or, of a
    directory, with what transformers itself reads from it."""

    def __init__(self, model, family, dtype, directory=None):
        self.family, self.layout = family, interop.layout_of(model.config)
        self.table = interop.key_table(self.layout, model.config)
        dtype = getattr(torch, dtype)
        if directory is None:
            self.module = self.like(model, dtype)
        else:
            self.module = self.from_directory(directory, dtype)
        self.module.eval()
        self.places = self.expand(family.sites)

    @property
    def architecture(self):
        return getattr(transformers, self.layout.architecture)

    def like(self, model, dtype):
        settings = interop.config_json(model, self.layout) | {"attn_implementation": "eager"}
        module = self.architecture(transformers.AutoConfig.for_model(**settings)).to(dtype)
        weights = {key: torch.from_numpy(array) for key, array in interop.tensors(model).items()}
        missing, unexpected = module.load_state_dict(weights, strict=False)
        missing = set(missing) - set(self.layout.tied if model.config.tied_head else ())
        if missing or unexpected:
            raise InputError(f"{self} lacks {sorted(unexpected) or 'no'} weights of ours and has "
                             f"{sorted(missing) or 'none'} besides; {ADVICE}")  # fmt: skip
        return module

    def from_directory(self, directory, dtype):
        options = {"attn_implementation": "eager", "local_files_only": True, "use_safetensors": True}
        try:
            return self.architecture.from_pretrained(directory, dtype=dtype, **options)
        except (OSError, ValueError, RuntimeError) as error:  # what transformers raises for files it cannot take
            raise InputError(f"{self} cannot load {directory}: {error}") from None

    def __str__(self):
        return f"{self.layout.architecture} of transformers {transformers.__version__}"

    def expand(self, sites):
        """{site: {"out" or an argument: place}}, every layer written out."""
        modules = {name for name, _ in self.module.named_modules(remove_duplicate=False)} | {"loss"}
        places = {}
        for site, where in sites.items():
            where = {"x": f"{where}:in", "out": f"{where}:out"} if isinstance(where, str) else where
            for i in count() if "{i}" in site else (0,):
                one = {name: place.format(i=i) for name, place in where.items()}
                absent = sorted({place.partition(":")[0] for place in one.values()} - modules)
                if absent and i > 0:
                    break  # there is no such layer
                if absent:
                    raise InputError(f"{self} has no module {' or '.join(absent)}; {ADVICE}")
                places[site.format(i=i)] = one
        return places

    def run(self, batch, steps, recipe):
        """The loss of a batch, its gradients, and `steps` updates on it."""
        batch = {name: torch.from_numpy(array) for name, array in batch.items()}
        used = {place for where in self.places.values() for place in where.values()}
        with Listener(self.module, used) as heard:
            loss = self.family.loss(self.module, batch)
            heard.hear("loss", loss)
            loss.backward()
        weight_grads = self.parameters(lambda parameter: parameter.grad.clone())
        norms, steadiness = self.train(batch, steps, recipe)
        tensors = {
            site if name == "out" else f"{site}.{name}": place
            for site, where in self.places.items()
            for name, place in where.items()
        }
        return Run(
            tuple(self.places),
            {name: heard.part(heard.values, place).numpy() for name, place in tensors.items()},
            {name: heard.part(heard.grads, place).numpy() for name, place in tensors.items()},
            {stage: {name: heard.memory(of, place) for name, place in tensors.items()}
             for stage, of in (("forward", heard.values), ("backward", heard.grads))},
            weight_grads, norms, self.parameters(torch.Tensor.detach),
            self.parameters(lambda parameter: parameter.grad), self.parameters(steadiness.get),
        )  # fmt: skip

    def other_weight(self, model):
        """The Row of the first weight that the twin has otherwise than our model, or None."""
        params = model.params
        for name, theirs in self.parameters(torch.Tensor.detach).items():
            if not np.array_equal(theirs.astype(params.dtype), params[name]):
                return compare_tensors("weights", name, params[name], theirs, 0.0)
        return None

    def parameters(self, read):
        """{our name: read(parameter) as an array in our layout}; what they keep apart and we in one, as "name[0]" and
        "name[1]", is put together."""
        theirs, parts = dict(self.module.named_parameters()), {}
        for ours, key, transposed in self.table:
            array = read(theirs[key]).numpy()
            parts.setdefault(ours.partition("[")[:2], []).append(array.T if transposed else array)
        return {name: np.stack(arrays) if part else arrays[0] for (name, part), arrays in parts.items()}

    def train(self, batch, steps, recipe):
        """Steps of torch.optim.AdamW, decay on matrices only, clipped; the gradient of the first is there. Returns the
        gradient's norms before clipping, and {parameter: its steadiness}."""
        parameters = list(self.module.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps)
        norms, steadiness = [], {p: torch.full_like(p, torch.inf) for p in parameters}
        for step in range(1, steps + 1):
            if step > 1:
                optimizer.zero_grad()
                self.family.loss(self.module, batch).backward()
            norms.append(torch.nn.utils.clip_grad_norm_(parameters, recipe.max_norm).item())
            optimizer.step()
            for p, least in steadiness.items():
                now = (optimizer.state[p]["exp_avg_sq"] / (1 - recipe.beta2**step)).sqrt() + recipe.eps
                torch.minimum(least, now / recipe.clip(norms[-1]), out=least)
        return norms, steadiness


class Listener:
    """Keeps values and gradients at places of a module, while it is entered as a context."""

    def __init__(self, module, places):
        self.values, self.grads, self.hooks = {}, {}, []
        self.paths = {place.partition(":")[0] for place in places} - {"loss"}
        self.module = module

    def __enter__(self):
        for path in self.paths:
            module = self.module.get_submodule(path)
            self.hooks.append(module.register_forward_pre_hook(self.on_input(path)))
            self.hooks.append(module.register_forward_hook(self.on_output(path)))
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def on_input(self, path):
        def hook(module, args):
            x, *rest = args
            if not x.is_floating_point():
                return None
            x = x.view_as(x)  # its gradient is what comes back through this module alone, not through a residual
            self.hear(f"{path}:in", x)
            return (x, *rest)

        return hook

    def on_output(self, path):
        def hook(module, args, out):
            self.hear(f"{path}:out", out[0] if isinstance(out, tuple) else out)

        return hook

    def hear(self, place, tensor):
        self.values[place] = tensor.detach()
        self.grads[place] = torch.zeros_like(tensor)  # unless the loss depends on it
        tensor.register_hook(lambda grad: self.grads.__setitem__(place, grad.detach()))

    def part(self, of, place):
        """The tensor at a place: of "MODULE:out:1/3" the second third of the output's columns."""
        where, fraction = split_place(place)
        if fraction is None:
            return of[where]
        index, parts = fraction
        return of[where].chunk(parts, -1)[index]

    def memory(self, of, place):
        where, fraction = split_place(place)
        return of[where].untyped_storage().data_ptr(), fraction


def quiet():
    """transformers neither draws progress bars nor warns."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def split_place(place):
    """split_place("lm_head:in") -> ("lm_head:in", None); split_place("a:out:1/3") -> ("a:out", (1, 3))."""
    path, _, rest = place.partition(":")
    end, _, fraction = rest.partition(":")
    return f"{path}:{end}" if end else path, tuple(map(int, fraction.split("/"))) if fraction else None


__all__ = ["Run", "Twin", "quiet"]
