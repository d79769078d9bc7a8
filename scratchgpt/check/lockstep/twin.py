"""The other side of `scratchgpt compare`: transformers' model of the same family, built, run and listened to.

Imported only where PyTorch and transformers are installed.
"""

import re
from typing import NamedTuple

import numpy as np
import torch
import transformers

from scratchgpt import interop
from scratchgpt.check.lockstep import taps
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
    choices: dict | None = None  # of experts, of each router by its name in the twin: one for each forward pass


class Twin:
    """transformers' model without dropout and without its casts to float32: with our configuration and weights, or, of
    a directory, with what transformers itself reads from it."""

    def __init__(self, model, family, dtype, directory=None):
        self.family, self.layout = family, interop.layout_of(model.config)
        dtype = getattr(torch, dtype)
        reads = directory is not None and family.build is None  # what transformers itself reads
        self.module = self.from_directory(directory, dtype) if reads else self.like(model)
        transformers_own = {name for name, _ in self.named_tensors()}
        for path, new in family.lacks.items():
            parent, _, name = path.rpartition(".")
            setattr(self.module.get_submodule(parent), name, new(self.module))
        if getattr(model.config, "tied_head", True) is False:
            untie_head(self.module)
        self.module = self.module.to(dtype).eval()
        self.weights = self.find_weights(model)
        with torch.no_grad():
            self.copy(model, transformers_own if reads else set())
        taps.replace_parts(self.module)
        taps.install(self.module, {place for where in family.sites.values() for place in places_of(where)})
        self.places = self.check_places(family.sites)

    @property
    def architecture(self):
        return getattr(transformers, self.layout.architecture)

    def like(self, model):
        if self.family.build is not None:
            return self.family.build(model.config)
        settings = interop.config_json(model, self.layout) | {"attn_implementation": self.family.attention}
        return self.architecture(transformers.AutoConfig.for_model(**settings))

    def from_directory(self, directory, dtype):
        options = {
            "attn_implementation": self.family.attention,
            "local_files_only": True,
            "use_safetensors": True,
        }
        try:
            return self.architecture.from_pretrained(directory, dtype=dtype, **options)
        except (OSError, ValueError, RuntimeError) as error:  # what transformers raises for files it cannot take
            raise InputError(f"{self} cannot load {directory}: {error}") from None

    def __str__(self):
        if self.family.build is not None:
            return f"our {self.layout.architecture} in PyTorch"
        return f"{self.layout.architecture} of transformers {transformers.__version__}"

    def named_tensors(self):
        """Parameters and buffers under each of their names."""
        yield from self.module.named_parameters(remove_duplicate=False)
        yield from self.module.named_buffers(remove_duplicate=False)

    def find_weights(self, model):
        """[(our name, the tensor's name in memory, which part of it, transposed)]: checks that both have the same."""
        theirs, table = dict(self.named_tensors()), interop.key_table(self.layout, model.config)
        rows = [(ours, *in_memory(key), transposed) for ours, key, transposed in table]
        unexpected = sorted(key for (_, key, _), (_, name, _, _) in zip(table, rows) if name not in theirs)
        covered = {id(theirs[name]) for _, name, _, _ in rows if name in theirs}
        missing = sorted(name for name, p in self.module.named_parameters() if id(p) not in covered)
        if missing or unexpected:
            raise InputError(f"{self} lacks {unexpected or 'no'} weights of ours and has {missing or 'none'} besides; "
                             f"{ADVICE}")  # fmt: skip
        return rows

    def copy(self, model, but):
        """Gives the twin our weights, but those of these names."""
        theirs = dict(self.named_tensors())
        for ours, name, part, transposed in self.weights:
            if name not in but:
                array = torch.from_numpy(np.ascontiguousarray(interop.part_of(model.params.__getitem__, ours)))
                part_of(theirs[name], part).copy_(array.T if transposed else array)

    def check_places(self, sites):
        """{site: {"out" or an argument: place}}, each of which there is."""
        modules = {name for name, _ in self.module.named_modules(remove_duplicate=False)} | {"loss"}
        places = {}
        for site, where in sites.items():
            places[site] = {"x": f"{where}:in", "out": f"{where}:out"} if isinstance(where, str) else where
            absent = sorted({path for place in places[site].values() for path in paths_of(place)} - modules)
            if absent:
                raise InputError(f"{self} has no module {' or '.join(absent)}; {ADVICE}")
        return places

    def run(self, batch, steps, recipe, choices=None):
        """The loss of a batch, its gradients, and `steps` updates on it. choices: those of experts that another Run
        made, to be made again: a rounding error must not send a token elsewhere."""
        routers = {name: part for name, part in self.module.named_modules() if type(part).__name__.endswith("Router")}
        for name, router in routers.items():
            router.replayed = [torch.from_numpy(each) for each in (choices or {}).get(name, ())]
        batch = {name: torch.from_numpy(array) for name, array in batch.items()}
        used = {place for where in self.places.values() for place in where.values()}
        with Listener(self.module, used) as heard:
            loss = self.family.loss(self.module, batch)
            heard.hear("loss", loss)
            loss.backward()
        for parameter in self.module.parameters():
            if parameter.grad is None:  # nothing depends on it; ours has a gradient of 0
                parameter.grad = torch.zeros_like(parameter)
        weight_grads = self.parameters(lambda p: torch.zeros_like(p) if p.grad is None else p.grad.clone())
        norms, steadiness = self.train(batch, steps, recipe)
        tensors = {
            site if name == "out" else f"{site}.{name}": place
            for site, where in self.places.items()
            for name, place in where.items()
        }
        return Run(
            tuple(self.places),
            {name: heard.value(place).numpy() for name, place in tensors.items()},
            {name: heard.grad(place).numpy() for name, place in tensors.items()},
            {stage: {name: heard.memory(of, place) for name, place in tensors.items()}
             for stage, of in (("forward", heard.values), ("backward", heard.grads))},
            weight_grads, norms, self.parameters(torch.Tensor.detach),
            self.parameters(lambda p: torch.zeros_like(p) if p.grad is None else p.grad),
            self.parameters(lambda p: steadiness[p] if p in steadiness else torch.full_like(p, torch.inf)),
            {name: [each.numpy() for each in router.choices] for name, router in routers.items()},
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
        theirs, parts, known = dict(self.named_tensors()), {}, {}
        for ours, name, part, transposed in self.weights:
            if name not in known:
                known[name] = read(theirs[name])
            array = part_of(known[name], part).numpy()
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
                optimizer.zero_grad(set_to_none=False)
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
        self.paths = {path for place in places for path in paths_of(place)} - {"loss"}
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
        if tensor.requires_grad:
            tensor.register_hook(lambda grad: self.grads.__setitem__(place, grad.detach()))

    def value(self, place):
        return sum(columns(self.values[where], which) for where, which in map(split_place, place.split(" + ")))

    def grad(self, place):
        """A sum's gradient is that of each of its parts."""
        where, which = split_place(place.partition(" + ")[0])
        return columns(self.grads[where], which)

    def memory(self, of, place):
        where, which = split_place(place.partition(" + ")[0])
        return of[where].untyped_storage().data_ptr(), which or ("sum" if " + " in place else None)


def quiet():
    """transformers neither draws progress bars nor warns."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def places_of(where):
    """The places of an entry of the map."""
    return (f"{where}:out",) if isinstance(where, str) else tuple(where.values())


def paths_of(place):
    """The modules that a place names."""
    return [part.partition(":")[0] for part in place.split(" + ")]


def split_place(place):
    """split_place("lm_head:in") -> ("lm_head:in", ""); split_place("a:out:1/3") -> ("a:out", "1/3")."""
    path, _, rest = place.partition(":")
    end, _, which = rest.partition(":")
    return f"{path}:{end}" if end else path, which


def columns(tensor, which):
    """The columns of a tensor that "1/3", the second third, or "0:5", the first five, names; all for ""."""
    if not which:
        return tensor
    if "/" in which:
        index, parts = map(int, which.split("/"))
        return tensor.chunk(parts, -1)[index]
    return tensor[..., slice(*map(int, which.split(":")))]


HALVES = {"w1": 0, "gate_proj": 0, "w3": 1, "up_proj": 1}  # of gate_up_proj; the third map of an expert is down_proj


def in_memory(key):
    """(name, part) of a tensor that files have under a key: in memory all experts' maps are one tensor, or two.

    in_memory("mlp.experts.3.up_proj.weight") -> ("mlp.experts.gate_up_proj", (3, 1))
    """
    key = key.replace("block_sparse_moe", "mlp")
    expert = re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", key)
    if expert is None:
        return key, None
    at, number, name = expert.groups()
    half = HALVES.get(name)
    return f"{at}.{'down_proj' if half is None else 'gate_up_proj'}", (int(number), half)


def part_of(tensor, part):
    """A view of what in_memory says is one of our tensors."""
    if part is None:
        return tensor
    number, half = part
    return tensor[number] if half is None else tensor[number].chunk(2)[half]


def untie_head(module):
    """transformers 5 ties a T5's head whatever the configuration says, until it loads a file where the two differ."""
    head, words = getattr(module, "lm_head", None), module.get_input_embeddings()
    if head is not None and head.weight is words.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())


__all__ = ["Run", "Twin", "quiet"]
