"""The learning-rate schedule. (AdamW itself is held to a plain formula in test_ops.py and to PyTorch's in peers/.)"""

import math
from itertools import pairwise

import pytest

from scratchgpt.optim import cosine_schedule


def test_the_rate_rises_to_its_peak_and_falls_to_its_least_on_the_last_update():
    rates = [cosine_schedule(step, 1.0, 10, 110, 0.1) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_the_way_down_is_half_a_cosine():
    rates = [cosine_schedule(step, 2.0, 0, 101, 0.0) for step in range(101)]
    assert rates == pytest.approx([1 + math.cos(math.pi * step / 100) for step in range(101)])


def test_a_run_of_one_step_and_a_warm_up_longer_than_the_run_have_a_rate():
    assert cosine_schedule(0, 1.0, 0, 1, 0.1) == 1.0
    assert [cosine_schedule(step, 1.0, 10, 2) for step in range(2)] == pytest.approx([0.1, 0.2])
