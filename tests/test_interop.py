"""Model directories: what is written is read back, and what is damaged or not understood is refused by name."""

import json
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from scratchgpt import files, interop
from scratchgpt.errors import InputError
from scratchgpt.interop.gpt2 import GPT2
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.tokenizers import BPETokenizer

TINY = GPTConfig(vocab_size=19, n_ctx=7, n_layer=2, n_head=3, n_embd=6)
CONFIGS = {
    "gpt2": TINY,
    "gpt2, untied": replace(TINY, tied_head=False),
    "gpt2, exact gelu, narrow": replace(TINY, activation="gelu", n_inner=11, layer_norm_eps=1e-3, dropout=0.2),
    "openai-gpt": replace(TINY, norm_first=False, init="gpt2"),
    "openai-gpt, untied": replace(TINY, norm_first=False, tied_head=False),
}


def random_model(config, dtype="float32"):
    model = GPT(config, seed=None, dtype=dtype)
    model.params.data[:] = np.random.default_rng(1).standard_normal(model.params.size)
    return model


@pytest.fixture
def directory(tmp_path):
    interop.save(random_model(TINY), tmp_path)
    return tmp_path


def change_config(directory, **values):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite_weights(directory, change):
    """Writes the weights again, as another program would: without our metadata, after change(tensors)."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def rewrite_header(directory, change):
    """Writes change(header) in place of the header, with the length it has then."""
    path = directory / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = change(json.loads(data[8 : 8 + length]))
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def refusal(directory, **options):
    """The one line with which load refuses a directory."""
    with pytest.raises(InputError) as caught:
        interop.load(directory, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


# what is written is read back


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_model_loads_with_the_same_config_and_bits(name, dtype, tmp_path):
    model = random_model(CONFIGS[name], dtype)
    interop.save(model, tmp_path)
    back = interop.load(tmp_path)
    assert back.config == model.config
    assert back.params.dtype == dtype
    assert np.array_equal(back.params.data, model.params.data)


def test_load_gives_the_dtype_asked_for(directory):
    wide = interop.load(directory, dtype="float64")
    assert wide.params.data.dtype == np.float64
    assert np.array_equal(wide.params.data.astype(np.float32), interop.load(directory).params.data)


@pytest.mark.parametrize("name", CONFIGS)
def test_tensors_are_copies_in_the_layout_of_the_file(name, tmp_path):
    model = random_model(CONFIGS[name])
    interop.save(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    tensors = interop.tensors(model)
    assert stored.keys() == tensors.keys()
    assert all(np.array_equal(stored[key], tensors[key]) for key in stored)
    before = model.params.data.copy()
    for array in tensors.values():
        array[...] = 7
    assert np.array_equal(model.params.data, before)


def test_linear_weights_are_stored_in_by_out_and_a_tied_head_not_at_all():
    tensors = interop.tensors(random_model(TINY))
    C = TINY.n_embd
    assert tensors["transformer.h.1.attn.c_attn.weight"].shape == (C, 3 * C)
    assert tensors["transformer.h.1.mlp.c_proj.weight"].shape == (4 * C, C)
    assert "lm_head.weight" not in tensors
    assert sum(array.size for array in tensors.values()) == random_model(TINY).params.size


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_tensors_have_the_weights_keys_and_shapes(name):
    model = random_model(CONFIGS[name])
    _, cache = model.loss({"input_ids": np.arange(10).reshape(2, 5)})
    model.backward(cache)
    weights, gradients = interop.tensors(model), interop.tensors(model, grad=True)
    assert {key: array.shape for key, array in weights.items()} == {key: a.shape for key, a in gradients.items()}
    qkv = model.params.grad_of("blocks.1.attn.qkv.weight")
    assert np.any(qkv) and np.array_equal(gradients["transformer.h.1.attn.c_attn.weight"], qkv.T)


def test_saving_leaves_only_the_files_of_the_model(directory):
    interop.save(random_model(TINY), directory)
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "model.safetensors"]


def test_the_same_model_saves_the_same_bytes(directory, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    interop.save(random_model(TINY), other)
    assert (other / "model.safetensors").read_bytes() == (directory / "model.safetensors").read_bytes()


# what others write


def test_keys_without_the_prefix_load(directory):
    expected = interop.load(directory).params.data

    def strip(tensors):
        for key in list(tensors):
            tensors[key.removeprefix("transformer.")] = tensors.pop(key)

    rewrite_weights(directory, strip)
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_attention_buffers_of_old_files_are_ignored(directory):
    expected = interop.load(directory).params.data

    def add(tensors):
        tensors["h.0.attn.bias"] = np.ones((1, 1, 7, 7), np.uint8)
        tensors["transformer.h.1.attn.masked_bias"] = np.float32([-1e4])

    rewrite_weights(directory, add)
    assert np.array_equal(interop.load(directory).params.data, expected)


def test_a_copy_of_a_tied_head_is_accepted_when_equal_and_refused_when_not(directory):
    expected = interop.load(directory).params.data
    rewrite_weights(directory, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].copy()}))
    assert np.array_equal(interop.load(directory).params.data, expected)
    rewrite_weights(directory, lambda t: t["lm_head.weight"].__setitem__((3, 2), 5))
    assert "tie_word_embeddings" in refusal(directory)


def test_an_output_head_in_the_place_of_the_embedding_is_it_if_they_are_tied_and_not_otherwise(directory, tmp_path):
    expected = interop.load(directory).params.data

    def only_the_head(tensors):
        tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")

    rewrite_weights(directory, only_the_head)
    assert np.array_equal(interop.load(directory).params.data, expected)
    interop.save(random_model(replace(TINY, tied_head=False)), tmp_path / "untied")
    rewrite_weights(tmp_path / "untied", lambda tensors: tensors.pop("transformer.wte.weight"))
    assert "missing: wte.weight" in refusal(tmp_path / "untied")


def test_bfloat16_is_read_as_the_upper_half_of_float32(directory):
    exact = interop.load(directory)
    bits = {key: array.view(np.uint32) >> 16 for key, array in load_file(directory / "model.safetensors").items()}
    save_file({key: array.astype(np.uint16) for key, array in bits.items()}, directory / "model.safetensors")
    rewrite_header(directory, lambda header: json.loads(json.dumps(header).replace('"U16"', '"BF16"')))
    expected = exact.params.data.view(np.uint32) >> 16 << 16
    assert np.array_equal(interop.load(directory).params.data.view(np.uint32), expected)


def test_shards_named_by_an_index_load(directory):
    expected = interop.load(directory).params.data
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    weight_map = {}
    for number, keys in enumerate((sorted(tensors)[:9], sorted(tensors)[9:])):
        save_file({key: tensors[key] for key in keys}, directory / f"part-{number}.safetensors")
        weight_map |= dict.fromkeys(keys, f"part-{number}.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert np.array_equal(interop.load(directory).params.data, expected)
    index.write_text(json.dumps({"weight_map": weight_map | {"transformer.wpe.weight": "part-0.safetensors"}}))
    assert "transformer.wpe.weight" in refusal(directory)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "../elsewhere.safetensors")}))
    assert "files of this directory" in refusal(directory)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "part-7.safetensors")}))
    assert "part-7.safetensors does not exist" in refusal(directory)


# layouts


def test_parts_of_a_tensor_may_have_keys_of_their_own(tmp_path, monkeypatch):
    """As experts have: one tensor of ours with a key for each of its parts, some of them transposed."""
    split = {"blocks.{i}.mlp.up.weight": ("blocks.{i}.mlp.up.weight[{e}]", "transformer.h.{i}.up.{e}.weight", False),
             "wpe": ("wpe[{e}]", "transformer.position.{e}", True)}  # fmt: skip
    table = tuple(split.get(row[0], row) for row in GPT2.table)
    monkeypatch.setattr(interop, "LAYOUTS", (replace(GPT2, table=table),))
    model = random_model(TINY)
    interop.save(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert np.array_equal(stored["transformer.h.1.up.11.weight"], model.params["blocks.1.mlp.up.weight"][11])
    assert np.array_equal(stored["transformer.position.6"], model.params["wpe"][6])
    assert "transformer.h.1.mlp.c_fc.weight" not in stored and "transformer.position.7" not in stored
    assert np.array_equal(interop.load(tmp_path).params.data, model.params.data)
    rewrite_weights(tmp_path, lambda tensors: tensors.pop("transformer.h.0.up.3.weight"))
    assert "missing: h.0.up.3.weight" in refusal(tmp_path)


def test_a_tensor_that_a_layout_has_no_key_for_is_named(monkeypatch):
    table = tuple(row for row in GPT2.table if ".ln2." not in row[0])
    with pytest.raises(InputError, match=r"GPT2LMHeadModel has no place for blocks\.\{i\}\.ln2\.bias"):
        interop.key_table(replace(GPT2, table=table), TINY)


# what is refused


def test_a_missing_directory_config_or_weights_is_refused(directory, tmp_path):
    assert "not a directory" in refusal(tmp_path / "nowhere")
    (directory / "model.safetensors").unlink()
    assert "model.safetensors does not exist" in refusal(directory)
    (directory / "pytorch_model.bin").write_bytes(b"PK")
    assert "save the model as safetensors" in refusal(directory)
    (directory / "config.json").unlink()
    assert "config.json does not exist" in refusal(directory)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", "[" * 100_000])
def test_a_config_that_is_not_a_json_object_is_refused(directory, text):
    (directory / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in refusal(directory)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "gpt_neox"}, {"model_type": None}, {"model_type": []},
        {"add_cross_attention": True}, {"scale_attn_by_inverse_layer_idx": True}, {"reorder_and_upcast_attn": True},
        {"scale_attn_weights": False}, {"activation_function": "relu"}, {"activation_function": ["gelu"]},
        {"quantization_config": {"bits": 4}},
        {"n_head": 4}, {"n_head": 0}, {"n_head": "3"}, {"n_head": True}, {"n_layer": -1}, {"n_embd": 6.5},
        {"n_embd": 10**30}, {"n_inner": "wide"}, {"tie_word_embeddings": "yes"}, {"layer_norm_epsilon": None},
        {"layer_norm_epsilon": float("nan")}, {"resid_pdrop": 1.5},
    ],
)  # fmt: skip
def test_a_config_that_our_models_do_not_compute_is_refused_by_name(directory, values):
    change_config(directory, **values)
    message = refusal(directory)
    assert "config.json" in message
    assert next(iter(values)) in message or "dropout" in message


@pytest.mark.parametrize(
    "values", [{"vocab_size": 20}, {"n_positions": 2**23}, {"n_embd": 9}, {"n_layer": 3}, {"n_layer": 2**23},
               {"n_inner": 23}, {"tie_word_embeddings": False}]
)  # fmt: skip
def test_weights_that_do_not_fit_the_config_are_refused(directory, values):
    rewrite_weights(directory, lambda tensors: None)  # without our own record of the config
    change_config(directory, **values)
    assert "model.safetensors" in refusal(directory)


@pytest.mark.parametrize("values", [{"n_head": 2}, {"layer_norm_epsilon": 1e-6}, {"activation_function": "gelu"}])
def test_a_config_changed_without_changing_any_shape_is_refused(directory, values):
    change_config(directory, **values)
    assert "was written for" in refusal(directory)


def test_missing_and_unexpected_tensors_are_named(directory):
    def rename(tensors):
        tensors["transformer.ln_f.gamma"] = tensors.pop("transformer.ln_f.weight")
        tensors["score.weight"] = np.ones((2, 6), np.float32)

    rewrite_weights(directory, rename)
    message = refusal(directory)
    assert "missing: ln_f.weight" in message
    assert "unexpected: ln_f.gamma, score.weight" in message


def test_a_tensor_stored_with_and_without_the_prefix_is_refused(directory):
    rewrite_weights(directory, lambda t: t.update({"wte.weight": t["transformer.wte.weight"].copy()}))
    assert "stored twice" in refusal(directory)


def test_weights_that_are_whole_numbers_are_refused(directory):
    rewrite_weights(directory, lambda t: t.update({"transformer.wte.weight": np.ones((19, 6), np.int64)}))
    assert "I64" in refusal(directory)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_truncation_is_refused(tmp_path_factory, data):
    directory = fresh_copy(tmp_path_factory)
    path = directory / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert "model.safetensors" in refusal(directory)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_every_flipped_bit_is_refused(tmp_path_factory, data):
    directory = fresh_copy(tmp_path_factory)
    path = directory / "model.safetensors"
    content = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(content[:8], "little")
    in_header = st.integers(0, header_end - 1)
    where = data.draw(st.one_of(in_header, st.integers(header_end, len(content) - 1)))
    content[where] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert "model.safetensors" in refusal(directory)


def test_weights_whose_digest_was_renamed_are_refused(directory):
    rewrite_header(directory, lambda header: json.loads(json.dumps(header).replace('"sha256"', '"sha257"')))
    assert "the SHA-256 that was written with it is gone" in refusal(directory)


def fresh_copy(factory):
    """A saved directory that an example may damage."""
    directory = factory.mktemp("damaged", numbered=True)
    if "saved" not in CACHE:
        CACHE["saved"] = factory.mktemp("saved")
        interop.save(random_model(TINY), CACHE["saved"])
    shutil.copytree(CACHE["saved"], directory, dirs_exist_ok=True)
    return directory


CACHE = {}
HUGE = 2**50
LIES = {
    "a shape larger than its bytes": lambda h: h | {KEY: h[KEY] | {"shape": [HUGE, 6]}},
    "offsets beyond the file": lambda h: h | {KEY: h[KEY] | {"shape": [HUGE], "data_offsets": [0, 4 * HUGE]}},
    "one tensor over another": lambda h: h | {"x": h[KEY]},
    "a hole between tensors": lambda h: {name: value for name, value in h.items() if name != KEY},
    "a negative size": lambda h: h | {KEY: h[KEY] | {"shape": [-19, -6]}},
    "offsets that run backwards": lambda h: h | {KEY: h[KEY] | {"data_offsets": h[KEY]["data_offsets"][::-1]}},
    "a fractional size": lambda h: h | {KEY: h[KEY] | {"shape": [19.0, 6]}},
    "a size of true": lambda h: h | {KEY: h[KEY] | {"shape": [True, 19, 6]}},
    "an unknown dtype": lambda h: h | {KEY: h[KEY] | {"dtype": "F3"}},
    "no dtype": lambda h: h | {KEY: {"shape": [19, 6], "data_offsets": h[KEY]["data_offsets"]}},
    "a tensor that is a list": lambda h: h | {KEY: [1, 2]},
    "empty sizes beside huge ones": lambda h: h | {"x": h[KEY] | {"shape": [0, HUGE, HUGE], "data_offsets": [0, 0]}},
    "a hundred axes": lambda h: h | {"x": h[KEY] | {"shape": [1] * 99 + [0], "data_offsets": [0, 0]}},
    "metadata that is no table": lambda h: h | {"__metadata__": [1]},
    "a header that is a list": lambda h: [1],
    "a header that is not JSON": lambda h: b"{nothing",
    "a header nested too deeply": lambda h: b"[" * 100_000,
    "a header that is not UTF-8": lambda h: b'{"\xff": 1}',
    "a name twice": lambda h: b'{"a": 1, "a": 1}',
}  # fmt: skip
KEY = "transformer.wte.weight"


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(directory, lie):
    rewrite_header(directory, LIES[lie])
    tracemalloc.start()
    try:
        message = refusal(directory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "not a sound safetensors file" in message
    assert peak < 5_000_000  # the lies claim up to 2^52 bytes


def test_a_header_length_beyond_the_file_is_refused(directory):
    path = directory / "model.safetensors"
    for length in (path.stat().st_size - 7, 2**40, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
        assert f"the header claims {length:,} bytes" in refusal(directory)


# saving


def test_the_tokenizer_is_saved_with_the_model_and_its_end_of_text_named_in_the_config(tmp_path):
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262)
    interop.save(random_model(replace(TINY, vocab_size=262)), tmp_path, tokenizer)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 261
    assert interop.load_tokenizer(tmp_path).digest() == tokenizer.digest()


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 3, vocab_size=262)
    with pytest.raises(InputError, match="tokenizer has 262 ids, the model's vocab_size is 261"):
        interop.save(random_model(replace(TINY, vocab_size=261)), tmp_path / "out", tokenizer)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out is a file"):
        interop.save(random_model(TINY), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("change", [{"activation": "gelu"}, {"n_inner": 17}])
def test_a_post_norm_model_that_transformers_lacks_is_not_saved(change, tmp_path):
    with pytest.raises(InputError, match="openai-gpt directories"):
        interop.save(GPT(replace(TINY, norm_first=False, **change)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_save_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")

    def writer(temporary):
        temporary.write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, writer)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_on_a_full_disk_keep_the_old_weights(directory):
    resource = pytest.importorskip("resource")
    before = (directory / "model.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # the kernel refuses longer files, as a full disk
    try:
        with pytest.raises(OSError, match=r"model\.safetensors"):
            interop.save(random_model(TINY), directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (directory / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "model.safetensors"]
