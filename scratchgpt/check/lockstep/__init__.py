"""Our numbers beside PyTorch's, tensor by tensor: forward, backward, gradients, and the weights after AdamW.

    print(compare(torch.nn.LayerNorm(7), (layer_norm_forward, layer_norm_backward), x))   # a module and your own pair
    print(lockstep(model, batch))                                       # a model and its twin in transformers

report.py  how large an error may be, and how a report reads
walk.py    the first divergence and whose fault it is; lines.py the lines between two ops
twin.py    the other side; taps.py what stands in it in the place of transformers' own; definitions.py ops in PyTorch
family.py  what a family brings: gpt.py, bert.py, t5.py, llama.py, heads.py, word2vec.py; absent.py what transformers
           has not
"""

import inspect
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from scratchgpt.check.lockstep import bert, gpt, llama, t5, word2vec
from scratchgpt.check.lockstep.report import MARGIN, Divergence, Report, compare_tensors, rounding_of
from scratchgpt.errors import InputError
from scratchgpt.interop import layout_of
from scratchgpt.ops import WrappedOps, traced
from scratchgpt.optim import AdamW

FAMILIES = {  # model_type -> (config) -> Family
    **gpt.FAMILIES, **bert.FAMILIES, **t5.FAMILIES, **llama.FAMILIES, **word2vec.FAMILIES,
}  # fmt: skip
SAMPLE = 1 << 20  # elements of each of AdamW's updates that are looked at one by one; the weights are compared in whole


@dataclass(frozen=True)
class Recipe:
    """How both sides update their weights: as scratchgpt train does, at a learning rate that any model survives."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    max_norm: float = 0.1  # small: the gradient shall be clipped

    def clip(self, norm):
        """What a gradient of this norm is scaled by, as torch.nn.utils.clip_grad_norm_ does."""
        return min(1.0, self.max_norm / (norm + 1e-6))

    def told(self, t, weight_decay):
        """What adamw_step must be told in update t, by its arguments' names."""
        constant = {"lr": self.lr, "beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        return {"t": t, "weight_decay": weight_decay} | constant


def lockstep(model, batch, directory=None, steps=3, recipe=Recipe()):
    """The Report of our model beside transformers' twin: every op's input and output and their gradients, the gradient
    of every parameter, and the weights after `steps` updates by AdamW on the same batch. The model's weights change.

    batch: what the model's loss takes, as Hugging Face calls it: input_ids (B, T), attention_mask, labels; an encoder
    alone takes no labels. directory: where the
    model was loaded from, if the twin shall be what transformers itself reads there; else it gets our model's weights.
    Raises InputError when a package is missing, the batch cannot be used, or transformers has no such model.
    """
    need("torch", "transformers")
    from scratchgpt.check.lockstep.walk import Walk

    family = family_of(model.config)
    batch, seen = family.batch(model, batch)
    other, truth, probe = run_twins(model, family, batch, directory, steps, recipe)
    if other is not None:
        said = f"scratchgpt.load and transformers read different numbers for {other.name}; nothing was run."
        return Report((other,), Divergence(other, "weights", other.name, "", said))
    walk = Walk(model.params, truth, probe, seen, family.sums)
    calls, partners, error = one_pass(model, family, batch)
    walk.follow(walk.calls(calls, partners, complete=error is None))
    if walk.divergence is None and error is not None:
        raise error
    if walk.divergence is None:
        walk.follow(walk.gradients())
    if walk.divergence is None:
        walk.follow(walk.updates(updates(model, family, batch, steps, recipe), recipe))
    return Report(tuple(walk.rows), walk.divergence)


def family_of(config):
    """The Family of models like this. Raises InputError when no map says where their tensors are in transformers."""
    kind = layout_of(config).model_type
    if kind not in FAMILIES:
        raise InputError(f"{kind} models cannot be compared; {', '.join(FAMILIES)} can")
    return FAMILIES[kind](config)


def need(*packages):
    """Raises InputError when one of the packages that are compared with is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(f"this compares with {' and '.join(missing)}, which is not installed; run pip install "
                         "'scratchgpt[compare]', or in a clone pip install '.[compare]'")  # fmt: skip


def run_twins(model, family, batch, directory, steps, recipe):
    """(the Row of a weight that the twin has otherwise than ours or None, its run in float64, its run in float32)."""
    from scratchgpt.check.lockstep.twin import Twin

    twin = Twin(model, family, "float64", directory)
    if other := twin.other_weight(model):
        return other, None, None
    truth = twin.run(batch, steps, recipe)
    del twin  # each takes the memory of a training run
    return None, truth, Twin(model, family, "float32", directory).run(batch, steps, recipe, truth.choices)


def one_pass(model, family, batch):
    """(the calls of ops in a forward and a backward pass, see Walk.calls for partners, what ended it early or None)."""
    ops, weights = model.ops, model.params.data
    traced_ops, calls = traced(ops, lambda array: array if np.may_share_memory(array, weights) else array.copy())
    model.ops, partners = paired(traced_ops, calls)
    model.params.grad.fill(0)
    try:
        family.train(model, batch)
    except Exception as error:  # whatever a wrong op leads to: the calls up to there may tell why
        return calls, partners, error
    finally:
        model.ops = ops
    return calls, partners, None


def paired(ops, calls):
    """(table, partners): which forward made the cache that a backward is given, by their numbers in `calls`."""
    made, partners = {}, {}  # id of a cache -> number of the call; a cache that is gone is used no more

    def around(place, op, function, args, kwargs):
        if op.endswith("_backward"):
            partners[len(calls)] = made.get(id(kwargs.get("cache", args[-1] if args else None)))
        result = function(*args, **kwargs)
        if op.endswith("_forward"):
            made[id(result[1])] = len(calls) - 1
        return result

    return WrappedOps(ops, around), partners


def updates(model, family, batch, steps, recipe):
    """Yields (norm of the gradient, calls of its ops, calls that chose experts before) of each step of AdamW; the first
    takes the gradient that is there."""
    ops, calls = traced(model.ops, lambda array: array[:SAMPLE].copy() if array.ndim else array.copy())
    optimizer = AdamW(model.params, ops, recipe.beta1, recipe.beta2, recipe.eps, recipe.weight_decay)
    for step in range(steps):
        choices = ()
        if step > 0:
            model.params.grad.fill(0)
            choices = choices_of(model, family, batch)
        calls.clear()
        yield optimizer.step(recipe.lr, recipe.max_norm), list(calls), choices


def choices_of(model, family, batch):
    """The calls that choose experts in a forward and a backward pass. Of the others nothing is kept."""
    ops = model.ops
    if getattr(model.config, "moe", None):
        model.ops, calls = traced(ops, lambda array: array if array.dtype.kind in "iu" else array.reshape(-1)[:0])
    else:
        calls = ()
    try:
        family.train(model, batch)
    finally:
        model.ops = ops
    return [call for call in calls if call.op == "choose_experts"]


# ---- a module and a pair


def compare(module, pair, *inputs, seed=0, **named):
    """The Report of a forward and a backward of yours beside a PyTorch module: the output, and every array's gradient.

        import numpy as np, torch
        from scratchgpt.check import compare
        from mine import layer_norm_forward, layer_norm_backward
        x = np.random.default_rng(0).standard_normal((2, 3, 7))
        print(compare(torch.nn.LayerNorm(7), (layer_norm_forward, layer_norm_backward), x))

    module: a torch.nn.Module or a function of tensors; it is left as it is. pair: forward(*inputs, ...) -> out, cache
    and backward(dout, cache) -> the gradients of forward's floating-point arrays, in order; dout is random, from seed.
    What forward takes besides the inputs: the module's parameters, in order, unless they are given by name.
    weight=array: that array, which becomes the module's parameter of this name too; gamma="weight": the module's own.
    Anything else, as eps=1e-5, goes to forward alone. All is computed in the type of the first floating-point array.
    Raises InputError when PyTorch is missing or the arrays are neither float32 nor float64.
    """
    need("torch")
    from scratchgpt.check.lockstep import definitions
    from scratchgpt.check.lockstep.lines import op_lines

    arrays, bound = arguments(definitions.parameters_of(module), pair[0], inputs, named)
    dtype = next(array.dtype.name for array in arrays.values() if array.dtype.kind == "f")
    truth, probe = (definitions.run_module(module, arrays, dtype, seed) for dtype in ("float64", "float32"))
    fineness = definitions.fineness(dtype, max(max(array.shape, default=1) for array in arrays.values()))

    def row(stage, name, ours, key):
        budget = MARGIN * rounding_of(truth[key], probe[key]) * fineness
        return compare_tensors(stage, name, ours, truth[key], budget)

    out, cache = pair[0](*bound.args, **bound.kwargs)
    rows = [row("forward", "out", out, "out")]
    if np.shape(out) == truth["out"].shape:
        gradients = pair[1](truth["dout"].astype(dtype), cache)
        gradients = iter(gradients if isinstance(gradients, tuple) else (gradients,))
        for name, array in bound.arguments.items():
            key = next((key for key, known in arrays.items() if known is array), None)
            if key is not None and array.dtype.kind == "f":
                rows.append(row("backward", f"d{name}", next(gradients, None), key))
    wrong = next((row for row in rows if not row.ok), None)
    if wrong is None:
        return Report(tuple(rows), None)
    guilty = pair[0] if wrong is rows[0] else pair[1]
    said = f"{guilty.__name__} gives another {wrong.name} than {type(module).__name__} on the same arguments."
    return Report(tuple(rows), Divergence(wrong, "op", "", guilty.__name__, said, op_lines(guilty)))


def arguments(parameters, forward, inputs, named):
    """({position of an input or name of a module's parameter: array}, the arguments bound to forward's signature)."""
    arrays = {i: np.asarray(array) for i, array in enumerate(inputs)} | parameters
    own = {}  # forward's name of an argument -> the module's name of the parameter that it is
    for name, value in named.items():
        if isinstance(value, np.ndarray):
            arrays[name], own[name] = value, name
        elif isinstance(value, str) and value in parameters:
            own[name] = value
    dtype = next((array.dtype.name for array in arrays.values() if array.dtype.kind == "f"), "no floating-point type")
    if dtype not in ("float32", "float64"):
        raise InputError(f"the arrays are of {dtype}; expected float32 or float64")
    arrays = {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in arrays.items()}
    signature = inspect.signature(forward)
    if own:  # the others of the module's parameters that forward has an argument for
        rest = parameters.keys() - own.values() - named.keys()
        own |= {name: name for name in signature.parameters if name in rest}
    ordered = [arrays[key] for key in arrays if isinstance(key, int) or not own]
    try:
        return arrays, signature.bind(*ordered, **named | {name: arrays[key] for name, key in own.items()})
    except TypeError as error:
        raise InputError(f"{forward.__name__}{signature} cannot be called with {len(inputs)} inputs and the module's "
                         f"parameters {', '.join(parameters) or '(none)'}: {error}") from None  # fmt: skip
