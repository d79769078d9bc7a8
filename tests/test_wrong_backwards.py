"""The checks are checked: every wrong backward in the catalogue is rejected by the check that right ones pass."""

from dataclasses import replace

import numpy as np
import pytest
from strategies import CASES, make_case
from test_ops import adamw_is_right
from wrong_backwards import WRONG, WRONG_ADAMW

from scratchgpt.ops import reference, table

MISTAKES = [(op, wrong) for op, functions in WRONG.items() for wrong in functions]


def rejected(op, wrong, case_of=make_case, dout=None):
    """The cases of op ("gelu tanh", "attention") whose gradient check fails with this backward.

    dout: None for the random upstream gradient, or a number that stands in every element of it.
    """
    ops = table("reference").replace(**{f"{op.split()[0]}_backward": wrong})

    def accepts(case):
        upstream = None if dout is None else np.full(case.out_shape(), dout)
        return case.gradient_report(ops, dout=upstream).ok

    return [name for name in CASES if name.startswith(op) and not accepts(case_of(name))]


@pytest.mark.parametrize("op, wrong", MISTAKES, ids=[wrong.__name__ for _, wrong in MISTAKES])
def test_a_wrong_backward_is_rejected(op, wrong):
    assert rejected(op, wrong)


@pytest.mark.parametrize("wrong", WRONG_ADAMW, ids=lambda f: f.__name__)
def test_a_wrong_adamw_step_is_rejected(wrong):
    assert not adamw_is_right(wrong)


def test_the_right_backwards_and_the_right_step_are_accepted():
    for op in WRONG:
        assert not rejected(op, getattr(reference, f"{op.split()[0]}_backward"))
    assert adamw_is_right(reference.adamw_step)


def test_the_catalogue_holds_at_least_five_mistakes_of_each_op():
    assert all(len(functions) >= 5 for functions in [*WRONG.values(), WRONG_ADAMW])


def fresh_layer(name):
    """The case as a layer just initialised: gains of 1, biases of 0."""
    case = make_case(name)
    fresh = {"weight": np.ones_like, "bias": np.zeros_like} if case.op == "layer_norm" else {}
    return replace(case, arrays={n: fresh.get(n, np.array)(array) for n, array in case.arrays.items()})


def test_a_check_through_a_plain_sum_of_a_fresh_layer_would_miss_mistakes():
    # out.sum() is dout = 1: its gradient through a fresh layer norm is 0 whatever the statistics' terms are
    missed = [f.__name__ for op, f in MISTAKES if op != "attention" and not rejected(op, f, fresh_layer, dout=1.0)]
    assert set(missed) >= {
        "layer_norm_variance_term_missing",
        "layer_norm_variance_term_with_the_wrong_sign",
        "layer_norm_unbiased_variance",
        "layer_norm_rstd_missing",
        "layer_norm_gamma_missing_on_the_way_back",
        "linear_dx_of_summed_dout",
        "gelu_tanh_dout_forgotten",
        "cross_entropy_dloss_forgotten",
    }
