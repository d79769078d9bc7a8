"""One file for each exercise, each with an `EXERCISE`; to add one is to add a file and its name here."""

import difflib
from importlib import import_module

from scratchgpt.errors import InputError

NAMES = (  # in the order in which they are best done
    "bpe", "wordpiece", "linear", "gelu", "cross_entropy", "layer_norm", "rms_norm", "embedding", "dropout",
    "attention", "kv_cache", "adamw", "accumulation", "flash_attention", "moe_router", "mlm_batch",
    "t5_spans", "span_decoding",
)  # fmt: skip


def exercise_names():
    """The names of all exercises, in the order in which they are best done."""
    return NAMES


def find_exercise(name):
    """The Exercise of that name; an InputError that offers the nearest name where there is none."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        offer = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
        raise InputError(f"there is no exercise called {name!r}; {offer}")
    return import_module(f"scratchgpt.homework.exercises.{name}").EXERCISE


def variant_of(exercise, variant):
    """The variant of that name of an Exercise, the exercise itself where none is named."""
    if not variant:
        return exercise
    if variant not in exercise.variants:
        known = ", ".join(exercise.variants) or "none"
        raise InputError(f"{exercise.name} has no variant {variant!r}; its variants: {known}")
    return exercise.variants[variant]
