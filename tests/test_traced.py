"""traced(ops): what is recorded of every call of an op."""

import numpy as np
import pytest

from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.ops import table, traced

IDS = [[1, 2, 3, 1], [4, 5, 6, 4]]


def make_model():
    return GPT(GPTConfig(vocab_size=7, n_ctx=5, n_layer=2, n_head=2, n_embd=4), ops=table("reference"))


def run(model, **options):
    model.ops, calls = traced(model.ops, **options)
    _, cache = model.loss({"input_ids": IDS})
    model.backward(cache)
    return calls


def test_calls_are_recorded_in_order_by_place_and_name():
    calls = run(make_model())
    names = [(call.place, call.op) for call in calls]
    assert names[0] == ("embedding", "embedding_forward")
    assert ("blocks.0.attn", "attention_forward") in names
    assert names[-1] == ("embedding", "embedding_backward")
    assert len(calls) == 2 * len([name for name in names if name[1].endswith("_forward")])


def test_arguments_have_the_reference_s_names_and_defaults():
    first = next(call for call in run(make_model()) if call.op == "attention_forward")
    assert list(first.args)[:3] == ["q", "k", "v"]
    assert first.args["causal"] is True and first.args["mask"] is None and first.args["bias"] is None


def test_a_traced_model_computes_the_same_bits():
    plain, watched = make_model(), make_model()
    run(watched)
    _, cache = plain.loss({"input_ids": IDS})
    plain.backward(cache)
    assert np.array_equal(plain.params.grad, watched.params.grad)


def test_what_is_recorded_stays_when_its_owner_overwrites_it():
    ops, calls = traced(table("reference"))
    x = np.ones((2, 3))
    out, _ = ops.linear_forward(x, np.ones((5, 3)))
    out += 1
    x += 1
    assert (calls[0].outputs[0] == 3).all() and (calls[0].args["x"] == 1).all()
    assert calls[0].outputs[0].shape == (2, 5) and len(calls[0].outputs) == 1  # without the cache


def test_keep_says_what_is_recorded_of_an_array():
    model = make_model()
    inside = model.params.data
    calls = run(model, keep=lambda array: array if np.may_share_memory(array, inside) else array.copy())
    linear = next(call for call in calls if call.place == "blocks.1.attn.out")
    assert linear.args["weight"] is model.params.p.blocks[1].attn.out.weight
    assert not np.may_share_memory(linear.args["x"], inside)


@pytest.mark.parametrize("name", ["x", "weight"])
def test_an_op_that_overwrites_an_argument_is_named_with_it(name):
    def linear_forward(x, weight, bias=None):
        out = x @ weight.T
        {"x": x, "weight": weight}[name][0] = 7
        return out, (x, weight, False)

    ops, calls = traced(table("reference").replace(linear_forward=linear_forward))
    ops.linear_forward(np.ones((2, 3)), np.ones((5, 3)))
    assert calls[0].overwritten == (name,)


def test_no_op_of_the_library_overwrites_an_argument():
    for ops in ("reference", "fast_cpu", "flash"):
        model = make_model()
        model.ops = table(ops)
        assert not any(call.overwritten for call in run(model))


def test_of_adamw_step_the_arrays_are_recorded_before_and_after():
    ops, calls = traced(table("reference"))
    param, grad, m, v = np.ones(3), np.ones(3), np.zeros(3), np.zeros(3)
    ops.adamw_step(param, grad, m, v, 1, 0.1, 0.9, 0.95, 1e-8, 0.0)
    assert (calls[0].args["m"] == 0).all() and np.allclose(calls[0].outputs[2], 0.1)
    assert calls[0].args["grad_scale"] == 1.0 and calls[0].overwritten == ()


def test_the_stack_leads_from_the_op_s_caller_to_the_model_s_first_function():
    norm = next(call for call in run(make_model()) if call.place == "blocks.0.ln1")
    functions = [code.co_name for code, _ in norm.stack]
    assert functions[0] == "norm_forward"
    assert functions.index("residual_forward") < functions.index("block_forward") < functions.index("loss")
    code, line = norm.stack[0]
    assert any(number == line for *_, number in code.co_lines())
