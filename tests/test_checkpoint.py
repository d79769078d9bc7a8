"""The state file: what it keeps, and everything that it refuses."""

import json
import os

import numpy as np
import pytest

from scratchgpt.checkpoint import FORMAT, STATE_FILE, digest_of, load_state, restore_state, save_state
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.optim import AdamW

CONFIG = GPTConfig(vocab_size=5, n_ctx=3, n_layer=1, n_head=1, n_embd=2, n_inner=3)


def trained(config=CONFIG, dtype="float32", seed=0):
    """A model and its optimizer whose arrays are all different random numbers."""
    model = GPT(config, seed=seed, dtype=dtype)
    optimizer = AdamW(model.params, model.ops)
    rng = np.random.default_rng(seed + 1)
    for array in (model.params.data, optimizer.m, optimizer.v):
        array[...] = rng.standard_normal(array.size)
    optimizer.t = 17
    return model, optimizer


@pytest.fixture
def saved(tmp_path):
    model, optimizer = trained()
    path = tmp_path / STATE_FILE
    save_state(path, model.params, optimizer, {"step": 17, "note": "größer"})
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_comes_back_bit_for_bit(tmp_path, dtype):
    model, optimizer = trained(dtype=dtype)
    save_state(tmp_path / STATE_FILE, model.params, optimizer, {"step": 17})
    other, other_optimizer = trained(dtype=dtype, seed=9)
    other_optimizer.t = 0
    state = load_state(tmp_path)
    restore_state(state, other.params, other_optimizer)
    assert state.step == 17 and other_optimizer.t == 17
    for mine, theirs in (
        (model.params.data, other.params.data),
        (optimizer.m, other_optimizer.m),
        (optimizer.v, other_optimizer.v),
    ):
        assert mine.tobytes() == theirs.tobytes()


def test_saving_leaves_no_temporary_file_and_one_state(saved):
    assert os.listdir(saved.parent) == [STATE_FILE]
    assert load_state(saved).record["note"] == "größer"


def test_every_single_flipped_bit_is_refused(saved):
    content = saved.read_bytes()
    accepted = []
    with open(saved, "rb+", buffering=0) as file:  # in place: truncating and writing it again is slow on some disks
        for place, byte in enumerate(content):
            file.seek(place)
            file.write(bytes([byte ^ 1 << (place % 8)]))
            try:
                load_state(saved)
            except InputError as error:
                assert STATE_FILE in str(error)
            else:
                accepted.append(place)
            file.seek(place)
            file.write(bytes([byte]))
    assert accepted == []
    assert load_state(saved).step == 17


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in range(0, len(content), 7):
        saved.write_bytes(content[:length])
        with pytest.raises(InputError, match=STATE_FILE):
            load_state(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(InputError, match=STATE_FILE):
        load_state(saved)


def rewritten(path, change):
    """The file with its JSON header changed by change(header)."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize("claim", [2**40, 2**62])
def test_a_header_that_lies_about_sizes_is_refused_before_allocating(saved, claim):
    def lie(header):
        header["weights"]["shape"] = [claim]
        header["weights"]["data_offsets"] = [0, 4 * claim]

    content = saved.read_bytes()
    saved.write_bytes(claim.to_bytes(8, "little") + content[8:])
    with pytest.raises(InputError, match="header claims"):
        load_state(saved)
    saved.write_bytes(content)
    rewritten(saved, lie)
    with pytest.raises(InputError, match="not a sound safetensors file"):
        load_state(saved)


def test_a_state_without_its_checksum_is_refused(saved):
    rewritten(saved, lambda header: header["__metadata__"].pop("sha256"))
    with pytest.raises(InputError, match="not a training state"):
        load_state(saved)


def test_a_changed_record_is_refused(saved):
    def change(header):
        header["__metadata__"]["record"] = header["__metadata__"]["record"].replace("17", "18")

    rewritten(saved, change)
    with pytest.raises(InputError, match="SHA-256"):
        load_state(saved)


def test_a_missing_state_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"does not exist.*run's directory"):
        load_state(tmp_path)


def test_another_models_state_is_refused_and_changes_nothing(saved):
    for config in (GPTConfig(**vars(CONFIG) | {"n_ctx": 4}), GPTConfig(**vars(CONFIG) | {"n_layer": 2})):
        model, optimizer = trained(config)
        before = model.params.data.copy()
        with pytest.raises(InputError, match="another model"):
            restore_state(load_state(saved), model.params, optimizer)
        np.testing.assert_array_equal(model.params.data, before)
    model, optimizer = trained(dtype="float64")
    with pytest.raises(InputError, match="float32"):
        restore_state(load_state(saved), model.params, optimizer)


def test_other_safetensors_files_are_no_state(tmp_path):
    from safetensors.numpy import save_file

    save_file({"wte": np.zeros(3, np.float32)}, tmp_path / STATE_FILE, {"format": FORMAT})
    with pytest.raises(InputError, match="not a training state"):
        load_state(tmp_path)


def test_digest_tells_dtype_shape_and_content_apart():
    a = np.arange(6, dtype=np.int32)
    others = (a, a.reshape(2, 3), a.astype(np.int64), a[::-1], None)
    assert len({digest_of(other) for other in others}) == 5
    assert digest_of(a) == digest_of(a.copy())
