"""`scratchgpt compare`: a model of ours and its twin in transformers, in lockstep, up to the first wrong number."""

import json
import math
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from scratchgpt import interop
from scratchgpt.backend import machine_memory
from scratchgpt.check.lockstep import family_of, lockstep, need
from scratchgpt.errors import InputError
from scratchgpt.files import read_json
from scratchgpt.models.gpt import GPTConfig
from scratchgpt.models.presets import SHAPES
from scratchgpt.ops import table

TOKENS, FEW_TOKENS, LARGE = (
    129,
    33,
    1 << 25,
)  # in a row, where the model takes as many; and in models of more parameters
DESCRIPTION = """Run a model beside its twin in transformers, with the same weights, and find the first wrong number.

  scratchgpt compare runs/plays
  scratchgpt compare --preset t5-small --dtype float64

Every tensor is compared: what each op is given and gives, forward and then backward, the gradient of every parameter,
and the weights after some steps of AdamW. An error is measured against the twin in float64; it may be as large as the
float32 twin's own errors let expect. At the first tensor that is further off the table ends, and it is said whose fault
it is: of an op that gives something else than PyTorch on the same arguments, or of the lines between two ops."""
EPILOG = "exit codes: 0 all of it agrees; 1 a tensor diverges; 2 bad input, or a package is missing."


def add_arguments(parser):
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("directory", nargs="?", metavar="DIR", help="a run's directory, or any that scratchgpt.load "
                        "takes: the twin is what transformers reads there")  # fmt: skip
    parser.add_argument("--preset", choices=tuple(SHAPES), metavar="NAME", help="instead of DIR: a published "
                        "shape, with random weights; scratchgpt params lists them")  # fmt: skip
    parser.add_argument("--batch", metavar="FILE", help="JSON with input_ids and what else the model's loss takes "
                        "(default: drawn from the seed, with padding and ignored labels)")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    parser.add_argument("--ops", choices=("fast_cpu", "reference", "flash"), default="fast_cpu", help="the table of "
                        "our ops (default: fast_cpu, which trains on a CPU; reference is the one to read)")  # fmt: skip
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="updates by AdamW (default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random weights and batch (default: 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")


def main(args):
    for name in ("steps", "seed"):
        if getattr(args, name) < 0:
            raise InputError(f"--{name} is {getattr(args, name)}; expected 0 or more")
    if (args.directory is None) == (args.preset is None):
        raise InputError("give a directory or --preset, one of them; see scratchgpt compare --help")
    need("torch", "transformers")
    config = SHAPES[args.preset][1] if args.preset else read_shape(args.directory)
    family_of(config)
    check_memory(config, args.dtype)
    if args.preset:
        model = random_model(args.preset, args.seed, args.dtype)
    else:
        model = interop.load(args.directory, args.dtype)
    model.ops = table(args.ops)
    from scratchgpt.check.lockstep.twin import quiet  # needs PyTorch

    quiet()
    batch = draw_batch(model.config, args.seed) if args.batch is None else read_json(args.batch)
    report = lockstep(model, batch, args.directory, args.steps)
    told = describe(args, model, batch)
    if args.json:
        print(json.dumps(told | report.to_json()))
    else:
        print(*(f"{name}: {value}" for name, value in told.items()), sep="\n")
        print(f"\n{report}")
    return int(not report.agrees)


def read_shape(directory):
    """The configuration of a model's directory, before a number of it is read."""
    path = Path(directory) / interop.CONFIG
    if not path.parent.is_dir():
        raise InputError(f"{directory} is not a directory; expected a model's, or --preset")
    return interop.read_config(path)[1]


def check_memory(config, dtype):
    """Raises InputError when the comparison cannot fit this machine. At its end it holds four numbers for each
    parameter of both twins, and our weights, gradient, AdamW's state and what every op gave of a gradient, and it makes
    and drops some. In float32 BERT-base takes 84 bytes for each parameter at most, T5-small 92."""
    parameters = n_parameters(config)
    needed = parameters * (5 * 8 + 5 * 4 + 7 * np.dtype(dtype).itemsize)
    present = machine_memory()
    if present is not None and needed > present:
        raise InputError(
            f"comparing {parameters:,} parameters takes about {needed / 2**30:,.0f} GiB; this machine has "
            f"{present / 2**30:,.0f} GiB; compare a smaller model: it has the same ops and the same lines"
        )


def n_parameters(config):
    return sum(math.prod(shape) for shape, _ in interop.layout_of(config).spec(config).values())


def random_model(preset, seed, dtype):
    """A model of a published shape with random weights, GPT-2's for a GPT. Its vectors are drawn too: a bias of 0 or a
    weight of 1 would hide that it is left out."""
    config = SHAPES[preset][1]
    if isinstance(config, GPTConfig):
        config = replace(config, init="gpt2")
    model = interop.layout_of(config).model(config, seed, dtype)
    vectors = model.params.data[model.params.n_decay :]
    vectors += 0.02 * np.random.default_rng((1, seed)).standard_normal(vectors.size).astype(dtype)
    return model


def draw_batch(config, seed):
    """What the family draws: a few rows, one with padding, some of whose labels are ignored."""
    length = (TOKENS if n_parameters(config) < LARGE else FEW_TOKENS) - 1
    return family_of(config).draw(config, length, np.random.default_rng((2, seed)))


def describe(args, model, batch):
    ours = args.directory or args.preset
    family = family_of(model.config)
    architecture = interop.layout_of(model.config).architecture
    own = "(transformers has none) in" if family.build else f"of transformers {version('transformers')},"
    return {
        "ours": f"{ours}, {model.params.size:,} parameters, {args.dtype}, ops {model.ops.name}",
        "theirs": "; ".join((f"{architecture} {own} PyTorch {version('torch')}, float64 and float32", *family.notes)),
        "batch": f"{args.batch or 'drawn'}, {' x '.join(map(str, np.shape(batch['input_ids'])))} tokens",
    }  # fmt: skip
