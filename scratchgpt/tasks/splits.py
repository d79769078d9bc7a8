"""A training and a validation part of labelled examples."""

import math
import re

import numpy as np

from scratchgpt.errors import InputError

HELD_OUT = 0.1  # the share of the groups, or of the examples, that validates


def split(examples, share=HELD_OUT, seed=0):
    """(training examples, validation examples), both in their old order.

    Where there are several groups, whole ones are held out: the last of them in the order of their names (numbers in a
    name by their value), so that years are told from what came before, as a text's last tenth is. Otherwise examples
    are drawn by `seed`. `share` of the groups or examples is rounded down, but at least one. Raises InputError where
    nothing would be left on one side, or only some examples have a group: they could fall on both sides unseen.
    """
    if not 0 < share < 1:
        raise InputError(f"the share to hold out is {share}; expected more than 0 and less than 1")
    groups = sorted({example.group for example in examples} - {None}, key=in_order)
    bare = next((example for example in examples if example.group is None), None)
    if groups and bare is not None:
        raise InputError(f"{bare.where}: it has no group, others have; give every example one, or none of them")
    if len(groups) > 1:
        chosen = set(groups[-held_out(len(groups), share) :])
        held = [example.group in chosen for example in examples]
    else:
        if len(examples) < 2:
            raise InputError(f"there is {len(examples)} example to split; expected two or more")
        drawn = np.random.default_rng(seed).permutation(len(examples))
        held = drawn < held_out(len(examples), share)  # of any permutation, as many places have a small number
    train = [example for example, out in zip(examples, held) if not out]
    return train, [example for example, out in zip(examples, held) if out]


def held_out(count, share):
    return max(1, math.floor(round(share * count, 9)))  # 0.1 * 30 is 3, whatever floating point says


def in_order(name):
    """A key that sorts "document 9" before "document 10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d{1,300})", name)]
