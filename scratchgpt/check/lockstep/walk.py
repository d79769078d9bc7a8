"""The walk along our model's calls of ops, beside the twin, up to the first wrong number, and whose fault it is.

Every call is looked at three times. What it was given must be what the twin has there: else the fault lies before it,
and since every op up to there was right, in the lines that run between two ops. What it gave must be what PyTorch gives
on exactly the same arguments: else this op is guilty, however small its error and whatever came before. And what it
gave must be what the twin has there: else the op did what it was asked to, but was asked for the wrong thing.
"""

import math
import re
from collections import Counter, defaultdict
from functools import partial
from types import MappingProxyType

import numpy as np

from scratchgpt.check.lockstep import definitions
from scratchgpt.check.lockstep.lines import call_lines, lines_after, lines_between, op_lines
from scratchgpt.check.lockstep.report import (
    EPS,
    MARGIN,
    Divergence,
    Row,
    compare_tensors,
    largest,
    rounding_of,
    share_of,
)


class Walk:
    """Compares a model with two runs of its twin. `rows` grows; `divergence` stays None as long as all is right.

    Each method that compares yields (row, whether the table shows it, function row -> Divergence).
    """

    def __init__(self, params, truth, probe, seen=None, sums=MappingProxyType({})):
        """params: the model's ParamStore; truth, probe: the twin's Runs in float64 and float32; seen: (B, T) bool, the
        rows whose numbers mean something, None for all; sums: the Family's."""
        self.params, self.truth, self.probe, self.seen, self.sums = params, truth, probe, seen, sums
        self.terms = max(max(shape) for shape, _ in params.spec.values())  # of the longest sum
        self.fineness = definitions.fineness(params.dtype.name, self.terms)
        self.long_sum = EPS * math.sqrt(params.size)  # how far one chain of sums of so many squares may be off
        self.usual = {
            "forward": usual_rounding(truth.values, probe.values),
            "backward": usual_rounding(truth.grads, probe.grads),
            "gradients": usual_rounding(truth.weight_grads, probe.weight_grads),
        }
        self.parameters = {address(params[name]): name for name in params.names}
        self.rows, self.divergence = [], None
        self.shown = {"forward": set(), "backward": set()}  # the twin's tensors that have a row
        self.forwards = {}  # site -> the forward call whose backward is still to come
        self.names = {}  # id of a call -> its site
        self.uses = defaultdict(list)  # parameter -> backward calls that gave a part of its gradient
        self.least = defaultdict(float)  # bias -> how far rounding may take its gradient, however small that is
        self.parts = defaultdict(list)  # site -> backward calls that gave a part of what goes back into it
        self.gave = {}  # memory of a tensor of the twin -> the call that gave ours
        self.first = {}  # place -> the op that has it for a name
        self.last = None  # the call before this one

    def follow(self, comparisons):
        """Takes comparisons up to the first row that is wrong."""
        for row, shown, explain in comparisons:
            if shown or not row.ok:
                self.rows.append(row)
            if not row.ok:
                self.divergence = explain(row)
                return

    def calls(self, calls, partners=None, complete=True):
        """Every call of the forward and the backward pass, in the order they were made; partners: {number of a
        backward's call: of the forward's whose cache it was given}; complete: none is to come."""
        self.name(calls, partners or {})
        ran = {self.site_of(call) for call in calls}
        forward_ended = complete or any(call.op.endswith("_backward") for call in calls)
        self.absent = [site for site in self.truth.sites if site not in ran and forward_ended]
        for call in calls:
            kind = call.op.rpartition("_")[2]
            compare = {"forward": self.forward_call, "backward": self.backward_call}.get(kind, self.choice)
            yield from compare(call, self.site_of(call))
            self.last = call
        for site in self.absent:
            yield Row("forward", site, (), np.inf, 0.0, 0.0, remark="ours never ran it"), True, self.missing

    def name(self, calls, partners):
        """Gives each call its site: where an op is called a second time under a name, a number is put behind. The way
        back has the name of the way there: that whose cache it was given, else the last that has none yet."""
        count, pending = Counter(), defaultdict(list)  # name without number -> of the forward calls
        for number, call in enumerate(calls):
            name = self.plain_name(call)
            if call.op.endswith("_backward"):
                partner = self.names.get(id(calls[partners[number]])) if partners.get(number) is not None else None
                waiting = pending[name]
                self.names[id(call)] = partner if partner in waiting else waiting[-1] if waiting else name
                if waiting:
                    waiting.remove(self.names[id(call)])
                continue
            count[name] += 1
            self.names[id(call)] = name if count[name] == 1 else f"{name}[{count[name]}]"
            if call.op.endswith("_forward"):
                pending[name].append(self.names[id(call)])

    def site_of(self, call):
        """The name of an op in the map, with its number."""
        return self.names.get(id(call)) or self.plain_name(call)

    def plain_name(self, call):
        """The name of an op in the map: "blocks.0.attn.attention" where it has such a name; else the place, for the one
        op that is called there first."""
        site = f"{call.place}.{stem(call)}"
        alone = site not in self.truth.sites and self.first.setdefault(call.place, stem(call)) == stem(call)
        return call.place if alone else site

    def forward_call(self, call, site):
        activations = {f"{site}.{name}": a for name, a in call.args.items() if is_float(a) and not self.parameter(a)}
        self.forwards[site] = call
        yield from self.intact(call, site, "forward")
        yield from self.beside(activations, "forward", partial(self.between, call, site))
        yield from self.alone(call, site, "forward", call.args, {"out": call.outputs[0]})
        yield from self.beside({site: call.outputs[0]}, "forward", partial(self.asked, call, site))
        self.note("forward", (site,), call)

    def backward_call(self, call, site):
        if site not in self.forwards:
            return  # under a name that no forward had: what comes of it is compared where it arrives
        args, dout = self.forwards.pop(site).args, next(iter(call.args.values()))
        names = [name for name, value in args.items() if value is None or is_float(value)]
        names = [name for name in names if name not in definitions.CONSTANT]
        gradients = {name: gradient for name, gradient in zip(names, call.outputs) if args[name] is not None}
        for name in gradients:
            parameter = self.parameter(args[name])
            self.uses[parameter].append(call)
            if name == "bias" and is_float(dout):  # a sum over all rows, which may cancel to nothing
                self.least[parameter] += EPS * largest(dout)
        yield from self.intact(call, site, "backward")
        if is_float(dout):
            yield from self.beside({site: dout}, "backward", partial(self.between, call, site))
        else:  # a loss's, which is a number
            of_a_loss = self.beside({site: np.asarray(dout)}, "backward", partial(self.told_wrong, call, site))
            yield from ((row, False, explain) for row, _, explain in of_a_loss)
        yield from self.alone(call, site, "backward", args, gradients, dout)
        gradients = {f"{site}.{name}": gradient for name, gradient in gradients.items()}
        yield from self.beside(gradients, "backward", partial(self.grown, call, site))
        self.note("backward", gradients, call)

    def note(self, stage, names, call):
        """Remembers who gave tensors of these names, all of which are right."""
        memory = self.truth.memory.get(stage, {})
        self.gave |= {memory[name][0]: call for name in names if name in memory}
        if stage == "backward":
            for site, parts in self.sums.items():
                self.parts[site] += [call for name in names if re.fullmatch(parts, name)]

    def choice(self, call, site):
        """choose_experts: whole numbers, which are equal or not. If they are not, though the op is right and its scores
        are the twin's but for rounding, then two experts are so near to each other that rounding decides."""
        if call.op != "choose_experts":
            return
        yield from self.intact(call, site, "forward")
        scores = {f"{site}.scores": call.args["scores"]}
        yield from self.beside(scores, "forward", partial(self.between, call, site))
        truth = definitions.run(stem(call), call.args, None, "float64")["out"]
        row = compare_tensors("forward", site, call.outputs[0], truth, 0.0)
        what = "it does not choose what PyTorch chooses by the same scores"
        yield row, False, partial(self.guilty, call, site, what)
        if site in self.truth.values:
            row = compare_tensors("forward", site, call.outputs[0], self.truth.values[site], 0.0)
            yield row, True, partial(self.turned, call, site)

    def intact(self, call, site, stage):
        """An op must leave its arguments as they are."""
        for name in call.overwritten:
            row = Row(stage, f"{site}.{name}", call.args[name].shape, np.inf, 0.0, 0.0, remark="overwritten")
            what = f"it overwrote its argument {name}, which is the caller's"
            yield row, False, partial(self.guilty, call, site, what)

    def beside(self, tensors, stage, explain):
        """{name: array} against the twin's tensors of these names, where it has them."""
        runs = [run.values if stage == "forward" else run.grads for run in (self.truth, self.probe)]
        for name in [name for name in tensors if name in runs[0]]:
            ours = tensors[name]
            truth, probe = (self.only_seen(like(run[name], ours)) for run in runs)
            budget = self.budget(truth, probe, self.usual[stage])
            row = compare_tensors(stage, full_name(stage, name), self.only_seen(ours), truth, budget)
            yield row, self.is_new(stage, name), explain

    def only_seen(self, array):
        """The array with zeros in the rows that mean nothing."""
        if self.seen is None or array is None:
            return array
        for rows in (self.seen, self.seen.reshape(-1)):  # batch and time may be one axis
            if array.shape[: rows.ndim] == rows.shape:
                return np.where(rows.reshape(rows.shape + (1,) * (array.ndim - rows.ndim)), array, 0)
        return array

    def is_new(self, stage, name):
        """Whether the table has no row of this tensor yet: one op's output is mostly the next one's input."""
        memory, part = self.truth.memory[stage][name]
        new = not self.shown[stage] & {(memory, part), (memory, None)}
        self.shown[stage].add((memory, part))
        return new

    def alone(self, call, site, stage, args, outputs, dout=None):
        """{"out" or an argument: array that the op gave} against PyTorch's definition of it on the same arguments."""
        if stem(call) not in definitions.DEFINITIONS:
            return
        truth, probe = (definitions.run(stem(call), args, dout, dtype) for dtype in ("float64", "float32"))
        for name, ours in outputs.items():
            tensor = site if name == "out" else self.parameter(args[name]) or f"{site}.{name}"
            budget = self.budget(truth[name], probe[name])
            row = compare_tensors(stage, full_name(stage, tensor), ours, truth[name], budget)
            what = f"its {'output' if name == 'out' else f'd{name}'} is not what PyTorch gives on the same arguments"
            yield row, False, partial(self.guilty, call, site, what)

    def gradients(self):
        """The gradient of every parameter, all its uses added up."""
        for name in self.params.names:
            truth = self.truth.weight_grads[name]
            budget = MARGIN * self.fineness * self.rounding(name, truth, self.probe.weight_grads[name])
            yield compare_tensors("gradients", name, self.params.grad_of(name), truth, budget), True, self.added

    def updates(self, steps, recipe):
        """Each step of AdamW as it comes, (norm of the gradient, its calls of ops, calls that chose experts before it),
        then the weights."""
        for number, (norm, calls, choices) in enumerate(steps, 1):
            for call, (router, theirs) in zip(choices, (self.truth.choices or {}).items()):
                row = compare_tensors("weights", f"step {number}: {router}", call.outputs[0], theirs[number - 1], 0.0)
                yield row, False, partial(self.tied, call, self.site_of(call), theirs[number - 1])
            norms = [run.norms[number - 1] for run in (self.truth, self.probe)]
            explain = partial(self.wrong_norm, calls[0])
            if number > 1:
                explain = partial(self.told_wrong, self.last, "optimizer")
            yield self.scalar(f"step {number}: norm of the gradient", norm, *norms), True, explain
            self.last = calls[-1]
            scales = [recipe.clip(norm) for norm in norms]
            updates = [call for call in calls if call.op == "adamw_step"]
            for call, weight_decay in zip(updates, (recipe.weight_decay, 0.0)):  # matrices, then the rest
                for name, value in recipe.told(number, weight_decay).items():
                    row = self.scalar(f"step {number}: {name}", call.args[name], value, value)
                    yield row, False, partial(self.told_wrong, call, "optimizer")
                row = self.scalar(f"step {number}: grad_scale", call.args["grad_scale"], *scales)
                yield row, False, partial(self.told_wrong, call, "optimizer")
                yield from self.updated(call, f"step {number}: ")
        if self.truth.norms:
            yield from self.weights(recipe)

    def scalar(self, name, ours, truth, probe):
        usual = max(self.usual["gradients"], self.long_sum / MARGIN)
        return compare_tensors("weights", name, ours, truth, self.budget(truth, probe, usual))

    def updated(self, call, step):
        """What adamw_step made of its arrays."""
        truth, probe = (definitions.update(call.args, dtype) for dtype in ("float64", "float32"))
        for name, ours, *twins in zip(("param", "grad", "m", "v"), call.outputs, truth, probe):
            row = compare_tensors("weights", f"{step}{name}", ours, twins[0], self.budget(*twins))
            what = f"it leaves {name} as PyTorch's AdamW does not on the same arguments"
            yield row, False, partial(self.guilty, call, "optimizer", what)

    def weights(self, recipe):
        """The weights after AdamW. A step is lr mhat / (sqrt(vhat) + eps), about lr whatever the gradient's size: where
        the gradient is little more than its own rounding, so is the step. With an error of d in the gradient a step is
        off by at most 2 lr min(1, d / (sqrt(vhat) + eps)), element by element, and each rounds the weight once."""
        steps, truth, probe = len(self.truth.norms), self.truth, self.probe
        for name in self.params.names:
            first = self.rounding(name, truth.weight_grads[name], probe.weight_grads[name])
            last = self.rounding(name, truth.last_grads[name], probe.last_grads[name])
            error = MARGIN * self.fineness * max(first, last / recipe.clip(truth.norms[-1]))  # of a gradient
            rounding = MARGIN * self.fineness * EPS * largest(truth.weights[name])
            budget = steps * (2 * recipe.lr * np.minimum(1, error / truth.steadiness[name]) + rounding)
            row = compare_tensors("weights", name, self.params[name], truth.weights[name], budget)
            yield row, True, partial(self.told_wrong, self.last, "optimizer")

    def rounding(self, name, truth, probe):
        """Of the gradient of a parameter. A key's bias for one gets none, as softmax does not see it: all of what is
        there is rounding, and the float32 twin may have hit 0 by luck."""
        return max(rounding_of(truth, probe, self.usual["gradients"]), self.least[name])

    def budget(self, truth, probe, usual=EPS):
        return MARGIN * rounding_of(truth, probe, usual) * self.fineness

    def parameter(self, array):
        """The name of the parameter that an array is, or None."""
        name = self.parameters.get(address(array)) if isinstance(array, np.ndarray) else None
        return name if name and array.shape == self.params[name].shape else None

    def given(self, call):
        """ "x=float32 (2, 7, 30), weight=blocks.0.ln1.weight, eps=1e-05"."""

        def shown(value):
            if not isinstance(value, np.ndarray):
                return repr(value)
            return self.parameter(value) or f"{value.dtype} {value.shape}"

        return ", ".join(f"{name}={shown(value)}" for name, value in call.args.items())

    # ---- whose fault it is

    def guilty(self, call, site, what, row):
        kept = f" (unless {stem(call)}_forward kept something wrong for it)" if call.op.endswith("_backward") else ""
        said = f"{call.op} at {site} is guilty: {what}, and all that it was given is right{kept}."
        return Divergence(row, "op", site, call.op, said, op_lines(call.function) + call_lines(call.stack))

    def between(self, call, site, row):
        if self.last is None:
            said = f"{row.name} is already wrong when {call.op} at {site}, the first op, is given it."
            return Divergence(row, "between", f"-> {site}", call.op, said, call_lines(call.stack))
        source = self.gave.get(self.truth.memory[row.stage][row.name.removeprefix("d ")][0], self.last)
        before = self.site_of(source)
        said = (
            f"{row.name} is already wrong when {call.op} at {site} is given it: look upstream. Every op up to "
            f"{source.op} at {before} is right, so the fault is in the lines that run between the two, or in what "
            "they call."
        )
        if self.absent:
            said += f" Ours never ran {', '.join(self.absent)}."
        lines = lines_between(source.stack, call.stack)
        if row.stage == "backward" and self.parts[site]:
            parts = self.parts[site]
            said += f" It is the sum of what {', '.join(self.site_of(part) for part in parts)} gave: see how they add."
            lines += tuple(each for each in lines_between(parts[-1].stack, call.stack) if each not in lines)
        return Divergence(row, "between", f"{before} -> {site}", call.op, said, lines)

    def asked(self, call, site, row):
        """Nothing is wrong with the op, nor with the tensors that came to it. If PyTorch's definition gives the twin's
        output from the twin's own tensors and the rest of our arguments, it is rounding, else it is that rest."""
        if stem(call) not in definitions.DEFINITIONS:
            return self.guilty(call, site, "its output is not the twin's", row)
        args = dict(call.args)
        for name in [name for name in args if is_float(args[name]) and f"{site}.{name}" in self.truth.values]:
            args[name] = like(self.truth.values[f"{site}.{name}"], args[name])
        asked, rounded = (
            self.only_seen(definitions.run(stem(call), args, None, dtype)["out"]) for dtype in ("float64", "float32")
        )
        twin = self.only_seen(like(self.truth.values[site], asked))
        budget = MARGIN * rounding_of(asked, rounded) * definitions.fineness("float64", self.terms)
        if compare_tensors("forward", site, twin, asked, budget).ok:
            return self.grown(call, site, row)
        said = (
            f"{call.op} at {site} gives wrong numbers, though the tensors that come to it are right and it does with "
            f"its arguments what it should: it was asked for the wrong thing. It was given {self.given(call)}."
        )
        return Divergence(row, "asked", site, call.op, said, call_lines(call.stack))

    def turned(self, call, site, row):
        args = dict(call.args) | {"scores": self.truth.values[f"{site}.scores"]}
        twin = self.truth.values[site]
        if not np.array_equal(definitions.run(stem(call), args, None, "float64")["out"], twin):
            return self.asked(call, site, row)
        return self.tied(call, site, twin, row)

    def tied(self, call, site, twin, row):
        tokens = np.flatnonzero((call.outputs[0] != twin).any(-1))
        said = (
            f"{call.op} at {site} takes other experts than the twin for token {listed(tokens)} of {len(twin)}, and yet "
            "it is right, and so is every op before it: two scores are so near to each other that rounding decides. "
            "Behind a choice that turns nothing can be compared; take another --seed or --batch, or float64."
        )
        return Divergence(row, "tie", site, call.op, said, call_lines(call.stack))

    def grown(self, call, site, row):
        said = (
            f"{row.name} is off by more than rounding is expected to be, and yet {call.op} at {site} is right, and so "
            "is every op before it, as is all that they were given: errors within the budget grew beyond it here."
        )
        return Divergence(row, "rounding", site, call.op, said, call_lines(call.stack))

    def missing(self, row):
        said = f"All numbers are right as far as they go, but ours never ran {', '.join(self.absent)}."
        return Divergence(row, "missing", row.name, "", said)

    def added(self, row):
        calls = self.uses[row.name]
        said = (
            f"The gradient of {row.name} is wrong, though every op that gives a part of it gives the right one "
            f"({', '.join(f'{call.op} at {self.site_of(call)}' for call in calls) or 'there is none'}): the parts are "
            "added up wrongly, or one of them not at all."
        )
        return Divergence(row, "sum", row.name, "", said, tuple(lines_after(call.stack) for call in calls))

    def told_wrong(self, call, site, row):
        said = (
            f"{row.name} is wrong, though {call.op} does with its arguments what it should: it was asked for the "
            f"wrong thing. It was given {self.given(call)}."
        )
        return Divergence(row, "asked", site, call.op, said, call_lines(call.stack))

    def wrong_norm(self, call, row):
        said = f"{call.op} gives a wrong norm for the gradient, of which every part is right."
        return Divergence(row, "op", "optimizer", call.op, said, op_lines(call.function) + call_lines(call.stack))


def stem(call):
    """ "layer_norm" of layer_norm_forward and layer_norm_backward."""
    return call.op.removesuffix("_forward").removesuffix("_backward")


def listed(numbers, most=3):
    return ", ".join(map(str, numbers[:most])) + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


def full_name(stage, tensor):
    return f"d {tensor}" if stage == "backward" else tensor


def like(theirs, ours):
    """The twin's array in the shape of ours: heads split or merged, batch and time as one axis."""
    return theirs.reshape(np.shape(ours)) if np.size(ours) == theirs.size else theirs


def usual_rounding(truth, probe):
    """The median over all tensors of how far float32 is off, as a share of the tensor's largest element."""
    return float(np.median([share_of(probe[name] - truth[name], truth[name]) for name in truth]))


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def address(array):
    return array.__array_interface__["data"][0]
