# %% [markdown]
# # A small lesson with </script> in its title
# About 2 minutes. You need `nothing` <b>at all</b>.
#
# It holds one of everything a lesson may hold, for the tests of the tool. [A link](https://example.org/paper).

# %% Values
from collections import Counter
from dataclasses import dataclass

import numpy as np

from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.ops.reference import layer_norm_backward, layer_norm_forward
from scratchgpt.tokenizers.algorithm1 import algorithm1


@dataclass
class Point:
    x: float
    y: np.ndarray


counter = np.zeros(3)
counter[0] = 1.5
counter[1] = -2.5
point = Point(1.0, counter)
letters = set("abcdefgh")
words = {"</script>": list(letters), "<!--DATA-->": [1, 2]}
wide = np.arange(4000.0).reshape(40, 100)
nothing = object()
print("</script><b>printed</b>")

# %% [markdown] predict
# What does the mean of a normalised row come to, `exactly`?
# - 0
# - `1`
# - its *bias*
# <!-- answer: round(float(out.mean()), 6) + 0.0 == 0 and "0" -->
# Each row is **centred** first.

# %% Into the library
shift = 0.5  # @param {type:"slider", min:-0.5, max:1.0, step:0.5}
x = np.array([[1.0, 2.0, 6.0], [0.0, -1.0, 1.0]]) + shift * np.eye(2, 3)
gamma, beta = np.ones(3), np.zeros(3)
out, cache = layer_norm_forward(x, gamma, beta)
dx, dgamma, dbeta = layer_norm_backward(out, cache)  # @over
doubled = [layer_norm_forward(row[None] * 2, gamma, beta)[0] for row in x]
print(Heat(out, rows=["first", "second"], cols=["<i>", "b", "c"], title="out"))
del doubled


# %% Loops
def triangle(n):
    total = 0
    for i in range(n):
        total += i
    return total


rounds = 50  # @short 5
seen = 0
for _round in range(rounds):  # @skip
    seen += triangle(2)
six = triangle(4)
for merge in algorithm1(["AACGCACTATATA"], vocab_size=6):
    print(merge.pair, merge.count, end=" | ")
pairs = Counter("AACGCA")

# %% [markdown] predict
# How many merges were made?
# - 1
# - 2
# <!-- answer: 2 if six == 6 else 1 -->
# From 4 letters to 6 symbols.

# %% Shown
curves = Curves({"rising": [1, 2, 4], "<falling>": [4, 2, 1]}, lines={"two": 2.0}, title="Both", xlabel="step")
print(curves)
print(Bars({"one": 1, "minus two": -2.0}, unit="nats"))

# %% The claims
assert np.allclose(out.mean(-1), 0)
assert six == 6 and seen == rounds

# %% [markdown]
# ## Your turn
# `scratchgpt homework start layer_norm`
