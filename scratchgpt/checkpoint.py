"""The state of a training run in one file, from which it continues bit for bit.

`training_state.safetensors` holds the weights and Adam's m and v as flat arrays, and a record: the step, the model's
and the run's configuration, and digests of the tokenizer and of the data. The order of the data and the dropout masks
are functions of (seed, step), so there is no random state to keep. The file carries a SHA-256 of all it says.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.files import TensorFile, write_tensors

STATE_FILE = "training_state.safetensors"
FORMAT = "scratchgpt training state 1"
ARRAYS = ("weights", "m", "v")


class State(NamedTuple):
    """What a state file says: its path, {"weights", "m", "v": flat array}, and the record (JSON values)."""

    path: Path
    arrays: dict
    record: dict

    @property
    def step(self):
        return self.record["step"]


def digest_of(*parts):
    """SHA-256 over arrays and JSON values, in order; an array counts with its dtype and shape."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def flat_layout(store):
    """[[name, [size, ...]], ...]: what the flat arrays hold, in order."""
    return [[name, list(store.spec[name][0])] for name in store.names]


def save_state(path, store, optimizer, record):
    """Writes weights, m and v and the record {"step": ..., ...} as the state file `path`, beside it and renamed.

    Raises OSError when it cannot be written; the file that was there before is then untouched.
    """
    arrays = {"weights": store.data, "m": optimizer.m, "v": optimizer.v}
    record = record | {"layout": flat_layout(store), "updates": optimizer.t}
    metadata = {"format": FORMAT, "record": json.dumps(record, sort_keys=True)}
    write_tensors(path, {name: to_host(array) for name, array in arrays.items()}, metadata)


def load_state(path):
    """The State in a state file, or in a run directory. Raises InputError, naming the file, when it is missing,
    truncated, damaged in any byte that says something, or not a training state."""
    path = Path(path)
    if path.is_dir():
        path /= STATE_FILE
    if not path.exists():
        raise InputError(f"{path} does not exist: there is no checkpoint to resume from; give a run's directory")
    file = TensorFile(path)
    if file.metadata.get("format") != FORMAT or set(file.entries) != set(ARRAYS) or "sha256" not in file.metadata:
        raise InputError(f"{path} is not a training state of scratchgpt ({FORMAT}); give a run's {STATE_FILE}")
    arrays = {name: array for name, _, array in file.read()}  # ends with the check of the SHA-256
    return State(path, arrays, json.loads(file.metadata["record"]))


def restore_state(state, store, optimizer):
    """Puts a State's arrays into a model's ParamStore and its AdamW. Raises InputError if it is another model's."""
    theirs, mine = state.record["layout"], flat_layout(store)
    if theirs != mine:
        unlike = next((f"{a} and {b}" for a, b in zip(theirs, mine) if a != b), "the numbers of tensors")
        raise InputError(f"{state.path} is the state of another model: {unlike} differ; build the one it was made from")
    dtype = state.arrays["weights"].dtype
    if dtype != store.dtype:
        raise InputError(f"{state.path} holds {dtype}, the model is {store.dtype}; build the model with dtype {dtype}")
    for name, array in (("weights", store.data), ("m", optimizer.m), ("v", optimizer.v)):
        array[...] = store.xp.asarray(state.arrays[name])
    optimizer.t = state.record["updates"]
