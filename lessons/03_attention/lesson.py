# %% [markdown]
# # Attention, forward and backward
#
# *About 20 minutes. You need matrix products, the softmax, and the chain rule by hand (lesson 1).*
#
# Every other op in a transformer works on one position at a time. Attention is the only one that carries information
# from one position to another, and it is a single line (Vaswani et al. 2017, eq. 1):
#
# `out = softmax(Q Kᵀ / √D) V`
#
# By the end you can derive its backward, say which gradients are *exactly* zero and why, and recognise the mistakes
# that still run.
#
# ## 1. A dictionary that answers softly
#
# A dictionary compares a query with its keys and returns the value of the one that is equal. Attention compares by a
# dot product, and returns a mean of *all* values, weighted by how well their keys fit. Because the answer is a smooth
# function of everything, it has a derivative, and so it can be learned: in a model `Q`, `K` and `V` are three linear
# maps of the same vectors X, `Q = X Wqᵀ` and so on. Here we write them down ourselves.
#
# Four words, and two numbers for each: how much *noun* and how much *verb*. A row of `Q` says what a word looks for, a
# row of `K` what it offers to be found by, a row of `V` what it hands over when it is found.

# %% four words
import numpy as np

from scratchgpt.check import gradient
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.ops.flash import flash_forward
from scratchgpt.ops.reference import attention_backward, attention_forward

words = ["the", "cat", "sat", "down"]
# looked for:     nothing     a verb      a noun      a verb
Q = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
# offered:        nothing     a noun      a verb      a bit of verb
K = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
V = np.array([[1.0, 1.0], [8.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
T, D = Q.shape

# %% [markdown] predict
# `the` looks for nothing: its query is zero. How does it spread its attention over the four words?
#
# - 0 on each
# - ¼ on each
# - all of it on itself
#
# <!-- answer: {(0, 0, 0, 0): "0 on each", (.25,) * 4: "¼ on each"}.get(tuple(P[0].round(9)), "another way") -->
#
# All scores in its row are equal, and a softmax of equal numbers is uniform. A softmax can never answer "nothing": its
# row always sums to 1. (A trained model that wants nothing often looks at the first token, which then serves as a sink:
# Xiao et al. 2024.)

# %% scores, weights, answers
sharpness = 1.0  # @param {type:"slider", min:0, max:4, step:1}
S = Q @ K.T / np.sqrt(D)  # (T, T): row = query, column = key
sharp = sharpness * S
E = np.exp(sharp - sharp.max(-1, keepdims=True))  # largest: exp(0), no overflow
P = E / E.sum(-1, keepdims=True)  # every row sums to 1
answers = P @ V  # (T, D): row t is a mean of V's rows
print(Heat(P, rows=words, cols=words, title="P: row asks, column answers"))
print(Heat(answers, rows=words, cols=["noun", "verb"], title="P V"))

# %% [markdown]
# Move the slider, which multiplies the scores. At 0 every word takes the plain mean of all values. At 4 `sat` takes
# `cat` and nothing else: the soft dictionary has become a hard one. That sounds good, but watch the price. How far a
# weight can still move when a score moves is `∂P/∂S = P (1 − P)`, and that goes to zero at both ends of `P`:

# %% what still moves
own_slope = P * (1 - P)  # how much each weight answers to its own score
print(Heat(own_slope, rows=words, cols=words, title="P (1 − P)"))

# %% [markdown]
# A head that is certain hardly learns any more. So a score should not become large just because of how it was computed.
#
# ## 2. Why √D
#
# Let the D entries of a query and of a key be independent, with mean 0 and variance 1. Each of the D products has
# variance 1, so their sum has variance D (Vaswani et al. 2017, footnote 4).

# %% [markdown] predict
# With D = 64, as in GPT-2, how large is a typical score (its standard deviation) before it is divided?
#
# - 1
# - 8
# - 64
#
# <!-- answer: round(spread[64]) -->
#
# Variances add, standard deviations do not: the answer is √D, and dividing by √D brings it back to 1 whatever D is.

# %% scores of random queries and keys
rng = np.random.default_rng(0)
widths = [1, 2, 4, 8, 16, 32, 64, 128, 256]
spread, unscaled, scaled = {}, [], []


def sensitivity(scores):
    """The mean size of ∂P/∂S: how much gradient the softmax lets through."""
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    jacobians = p[:, :, None] * (np.eye(8) - p[:, None, :])  # P_i (δ_ij − P_j)
    return float(np.linalg.norm(jacobians, axis=(1, 2)).mean())


for width in widths:  # @skip
    queries = rng.standard_normal((2000, 1, width))
    keys = rng.standard_normal((2000, 8, width))
    scores = (queries * keys).sum(-1)  # (2000, 8): one query, eight keys
    spread[width] = float(scores.std())
    unscaled.append(sensitivity(scores))
    scaled.append(sensitivity(scores / np.sqrt(width)))

print("D      standard deviation of q·k     the same / √D")
for width in widths:  # @skip
    print(f"{width:<7}{spread[width]:<30.2f}{spread[width] / np.sqrt(width):.2f}")
title = "How much gradient the softmax lets through"
curves = {"q·k": unscaled, "q·k / √D": scaled}
print(Curves(curves, x=np.log2(widths), title=title, xlabel="log₂ D"))

# %% [markdown]
# Without the division, wider heads start out certain and deaf. With it, D does not matter.
#
# ## 3. The causal mask
#
# A language model predicts the next token, so position t may not look at t + 1: it would read the answer. The hidden
# scores are set to −∞ *before* the softmax, so that their weights are `exp(−∞) = 0`, exactly, and the rest of the row
# still sums to 1. From here on we use the library's op; step into it. It takes `(B, T, H, D)`: batch, position, head,
# width of a head. Ours has one row and one head. (There may be fewer queries than keys, T < S, when the earlier ones
# were answered before: the last query then stands at the last key, so query t is at position S − T + t. Lesson 5 needs
# that.)


# %% the library's op
def batch_of_one(matrix):  # @over
    return matrix[None, :, None, :]  # (T, D) -> (B=1, T, H=1, D)


q, k, v = batch_of_one(Q), batch_of_one(K), batch_of_one(V)
out, cache = attention_forward(q, k, v)  # causal=True is the default
P = cache[3][0, 0]  # (T, T): the cache keeps P for the way back
print(Heat(P, rows=words, cols=words, title="P with the causal mask"))

# %% [markdown]
# `the` had a uniform row; now it can see only itself, so its row is 1 0 0 0 whatever its query says. And `cat`, which
# asks for a verb, cannot have one: `sat` has not been said yet.
#
# A mistake that runs: mask *after* the softmax, by setting the future's weights to 0. The rows no longer sum to 1, and
# the future still acts, through the softmax's denominator.

# %% masked too late
free = np.exp(S) / np.exp(S).sum(-1, keepdims=True)
too_late = np.tril(free)
print("rows sum to", too_late.sum(-1).round(3), "instead of", P.sum(-1).round(3))

# %% [markdown]
# ### The gradient shows who sees whom
#
# A backward is also a microscope. Put a gradient into *one* output and look where it arrives: only inputs that took
# part in that output receive any.

# %% [markdown] predict
# The loss depends on the output at `cat` alone. How many of the four rows of `dV` are not zero?
#
# - 1
# - 2
# - 3
# - 4
#
# <!-- answer: int((dV != 0).any(-1).sum()) -->
#
# `cat` sees `the` and itself. The zeros at `sat` and `down` are exact: `dV = Pᵀ dout` multiplies by weights that are
# exactly 0. If a later row ever lights up, the mask leaks, and the model will train to a wonderful loss and sample
# rubbish.

# %% a gradient into one word
dout = np.zeros_like(out)
dout[0, words.index("cat")] = 1.0
dq, dk, dv, _ = attention_backward(dout, cache)
dV = dv[0, :, 0]
print(Heat(dV, rows=words, cols=["noun", "verb"], title="dV of a loss at cat"))

# %% [markdown]
# ## 4. Padding
#
# Rows of a batch have different lengths; the short ones are filled with padding, and a mask `(B, S)` says which keys
# are real. Below, row 0 is our sentence; row 1 is `the cat` and two paddings, which hold junk.

# %% [markdown] predict
# The padding stands on the *right*, and the op is causal. Somebody forgets the padding mask. The outputs at the real
# words `the cat` …
#
# - are wrong
# - do not change
#
# <!-- answer: "do not change" if np.array_equal(forgotten[1, :2], right[1, :2]) else "are wrong" -->
#
# Padding on the right is the future of every real word, and the causal mask hides the future already. That is why GPT
# training code may get away without a padding mask, so long as the loss ignores the padded targets. On the left (usual
# when sampling a batch), or in a model that looks both ways (BERT), padding is visible, and the mask is needed.

# %% on the right and on the left
junk = np.array([[9.0, -9.0], [-9.0, 9.0]])


def two_rows(matrix, left):  # @over
    short = np.vstack([junk, matrix[:2]] if left else [matrix[:2], junk])
    return np.stack([matrix, short])[:, :, None, :]  # (B=2, T, H=1, D)


on_right = [two_rows(matrix, left=False) for matrix in (Q, K, V)]
on_left = [two_rows(matrix, left=True) for matrix in (Q, K, V)]
real_right = np.array([[True] * 4, [True, True, False, False]])
real_left = np.array([[True] * 4, [False, False, True, True]])
right = attention_forward(*on_right, mask=real_right)[0]
forgotten = attention_forward(*on_right)[0]  # @over
left = attention_forward(*on_left, mask=real_left)[0]
left_forgotten = attention_forward(*on_left)[0]  # @over

side = ["noun", "verb"]
print(Heat(out[0, :2, 0], words[:2], side, "in the sentence, without padding"))
print(Heat(left[1, 2:, 0], words[:2], side, "padded on the left, with the mask"))
print(Heat(left_forgotten[1, 2:, 0], words[:2], side, "mask forgotten"))
same = np.array_equal(forgotten[1, :2], right[1, :2])
print("padded on the right, mask forgotten: the same numbers:", same)
print("the two left paddings' own outputs:", left[1, :2, 0].tolist())

# %% [markdown]
# The last print is a trap. A padding on the left sees only itself, and that is masked: a row of −∞, and a softmax that
# computes `−∞ − (−∞)` gives NaN, which spreads to every weight at the next update. The library's op answers with zeros;
# step into it and find the two lines that see to it.
#
# ## 5. Backward
#
# Three products and a softmax, taken from the end. Write `dX` for the derivative of the loss by `X`.
#
# `out = P V`, so `dV = Pᵀ dout` and `dP = dout Vᵀ`.
#
# `P = softmax(S)` in each row. With `∂P_j/∂S_i = P_j (δ_ij − P_i)`:
#
# `dS_i = Σ_j dP_j P_j (δ_ij − P_i) = P_i (dP_i − Σ_j dP_j P_j)`
#
# or, for all rows at once, `dS = P ∘ (dP − rowsum(dP ∘ P))`. Read it as: `rowsum` is the *average* merit of the words
# looked at; a score should rise if its word does better than that average, in proportion to the weight it already has.
#
# `S = Q Kᵀ / √D`, so `dQ = dS K / √D` and `dK = dSᵀ Q / √D`. The scale appears twice more.
#
# Now with numbers, and a `dout` of our own. First one row's Jacobian, `diag(p) − p pᵀ`:

# %% one row of the softmax
dOut = np.array([[1.0, 2.0], [-1.0, 1.0], [2.0, 0.0], [0.0, -1.0]])
dP = dOut @ V.T
p = P[3]  # the row of "down"
jacobian = np.diag(p) - np.outer(p, p)
print(Heat(jacobian, rows=words, cols=words, title="∂P/∂S, the row of down"))
long_way = jacobian @ dP[3]
short_way = p * (dP[3] - (dP[3] * p).sum())
print("Jacobian times dP:", long_way.round(4))
print("the formula:      ", short_way.round(4))

# %% [markdown] predict
# Adding 1 to every score of a row leaves its softmax as it was. So what does each row of `dS` sum to?
#
# - 0
# - 1
# - it depends on the loss
#
# <!-- answer: "0" if np.allclose(dS.sum(-1), 0) else "it depends on the loss" -->
#
# If a common shift changes nothing, its derivative, which is the sum of the row, is 0. A check for your own code that
# costs one line, and that the popular mistake `P (1 − P) dP` (the Jacobian's diagonal alone) fails.

# %% the whole backward
dV = P.T @ dOut
dS = P * (dP - (dP * P).sum(-1, keepdims=True))
dQ = dS @ K / np.sqrt(D)
dK = dS.T @ Q / np.sqrt(D)
print(Heat(dS, rows=words, cols=words, title="dS"))

# %% [markdown] predict
# Look at `dS` again: one row of `dQ` is exactly 0, whatever the loss. Whose?
#
# - the
# - cat
# - sat
# - down
#
# <!-- answer: " ".join(words[t] for t in range(T) if not dq[0, t].any()) -->
#
# `the` has one key to choose from. Its weight is 1 and stays 1, so its query has no effect and gets no gradient. The
# first query of every sequence is trained by nothing.

# %% against the library, and against the definition of a derivative
dq, dk, dv, _ = attention_backward(batch_of_one(dOut), cache)
for name, ours, theirs in ("dQ", dQ, dq), ("dK", dK, dk), ("dV", dV, dv):
    print(name, "equals the library's:", np.allclose(ours, theirs[0, :, 0]))
shape = (2, 5, 3, 7)  # B, T, H, D
report = gradient(attention_forward, attention_backward, shape, shape, shape)
print(report)

# %% [markdown]
# `gradient` compares a backward with a numeric derivative of its forward, for random inputs of these shapes and a
# random `dout`. Now the mistakes people make, measured the same way: the largest error, relative to the largest entry.


# %% four wrong backwards
def error(wrong, right):  # @over
    return float(np.abs(wrong - right).max() / np.abs(right).max())


dS_diagonal = P * (1 - P) * dP
dS_no_rowsum = P * dP
mistakes = {
    "dQ without 1/√D": error(dS @ K, dQ),
    "dK without the transpose": error(dS @ Q / np.sqrt(D), dK),
    "dS = P (1 − P) dP": error(dS_diagonal, dS),
    "dS = P dP": error(dS_no_rowsum, dS),
}
print(Bars(mistakes, title="Relative error"))
print("rows of P (1 − P) dP sum to", dS_diagonal.sum(-1).round(2))
print("rows of P dP sum to        ", dS_no_rowsum.sum(-1).round(2))

# %% [markdown]
# None of these crashes, and the first is only a factor, which a loss curve would hardly show. That is why one checks.
#
# ## 6. Many heads
#
# One softmax per position makes one mean. To look for two things, one needs two. Multi-head attention (Vaswani et al.
# 2017, section 3.2.2) cuts the C columns of q, k and v into H heads of D = C/H, lets each attend on its own, and puts
# the answers side by side; one more linear map, C by C, then mixes them (`attend_forward` in `blocks.py`). The products
# are those of one wide head, cut, so H heads take the FLOPs of one.
#
# The first D columns of a position go to head 0, the next D to head 1. In code that is `x.reshape(B, T, H, D)`.

# %% [markdown] predict
# `x.reshape(B, H, T, D)` has the same size and runs just as well. With 4 words and 2 heads, which words does the output
# at `down` then depend on?
#
# - all four words
# - the last two
# - itself alone
#
# <!-- answer: {4: "all four words", 2: "the last two", 1: "itself alone"}[len(seen_wrong)] -->
#
# The memory of `(T, C)` runs word by word, so cutting it into H pieces first gives head 0 the first words and head 1
# the last. Reshape never complains; the microscope does.

# %% two reshapes
x = rng.standard_normal((1, T, 4))  # (B, T, C): 4 words, 4 = 2 heads of 2


def right_way(a):
    return a.reshape(1, T, 2, 2)  # (B, T, H, D)


def wrong_way(a):  # also (B, T, H, D), by its shape
    return a.reshape(1, 2, T, 2).transpose(0, 2, 1, 3)


def seen_by_last(split):
    """The words that the last output depends on. split: (B, T, C) -> heads."""
    owner = split(np.arange(T * 4).reshape(1, T, 4) // 4)  # whose number is where
    _, cache = attention_forward(split(x), split(x), split(x))
    dout = (owner == T - 1).astype(float)  # a gradient into the last word alone
    _, _, dv, _ = attention_backward(dout, cache)
    return [words[t] for t in np.unique(owner[dv != 0])]


seen_right = seen_by_last(right_way)  # @over
seen_wrong = seen_by_last(wrong_way)  # @over
print("reshape(B, T, H, D):", seen_right)
print("reshape(B, H, T, D):", seen_wrong)

# %% [markdown]
# ### Heads that continue a pattern
#
# What can heads do together? Here are some made by hand, with no training. Two heads in one call: head 0 asks "who
# stands before me?" (query: my position − 1; key: a position), head 1 asks "where was my letter?" (query and key: a
# letter). One head asked both would have to return a blend.

# %% the first layer
text = list(".ABCDABC")  # "." begins the text
letters = sorted(set(text))
n = len(text)
position = np.eye(n)
before = np.eye(n, k=-1)  # row t points at t − 1
letter = np.zeros((n, n))  # row t: which letter it is, one-hot
letter[range(n), [letters.index(each) for each in text]] = 1
certain = 40.0  # a large score: nearly a hard choice

queries = certain * np.stack([before, letter], axis=1)[None]  # (B=1, n, H=2, D=n)
keys = np.stack([position, letter], axis=1)[None]
values = np.stack([letter, letter], axis=1)[None]
found, layer1 = attention_forward(queries, keys, values)
head0, head1 = layer1[3][0].round(2)
print(Heat(head0, rows=text, cols=text, title="head 0: the one before me"))
print(Heat(head1, rows=text, cols=text, title="head 1: my letter, until now"))

# %% [markdown]
# Head 1 finds the earlier A, but that is not what a language model needs: it needs the letter *after* it. The place to
# look at is the one whose *previous* letter is A, and what each place has before it is exactly what head 0 brought. So
# a second layer takes head 0's findings as its keys, its own letter as its query, and hands over letters.

# %% the second layer
queries2 = certain * letter[None, :, None]  # (1, n, 1, n): my letter
keys2 = found[:, :, :1]  # the letter before each position, as head 0 found it
guesses, _ = attention_forward(queries2, keys2, letter[None, :, None])  # @over
guess = guesses[0, :, 0, : len(letters)].round(2)
print(Heat(guess, rows=text, cols=letters, title="guesses of the next letter"))

# %% [markdown]
# After the second A, B and C the guess is right and certain; before, where nothing matches, it is the mean of what was
# seen. The pair continues any pattern, in letters it never met: it learned *in context*, with no gradient step. Trained
# transformers grow such *induction heads* by themselves (Elhage et al. 2021; Olsson et al. 2022).
#
# ## 7. What it costs
#
# Forward, per row of T tokens: the four linear maps of width C around it take `8 T C²` FLOPs, the two products `Q Kᵀ`
# and `P V` take `4 T² C`. The second overtakes the first at T = 2C. Memory is worse: P has `H T²` numbers, for each
# layer, kept until backward.

# %% [markdown] predict
# GPT-2's smallest model has 12 layers of 12 heads; its context was 1,024 tokens. Give it 8,192. How much memory do all
# its P take then, for one text, in float32?
#
# - 5 GB
# - 39 GB
# - 310 GB
#
# <!-- answer: f"{gigabytes[8192]:.0f} GB" -->
#
# Eight times the tokens, 64 times the memory, and that for one text of the batch.

# %% a square
gigabytes = {n: 12 * 12 * n**2 * 4 / 1e9 for n in (1024, 2048, 4096, 8192)}
bars = {f"{tokens:,} tokens": size for tokens, size in gigabytes.items()}
print(Bars(bars, title="P of all layers and heads", unit="GB"))

# %% [markdown]
# FlashAttention (Dao et al. 2022) never stores P. Three facts make that possible.
#
# **1. A softmax can be computed in pieces** (Milakov & Gimelshein 2018). Keep a running maximum `m`, a running sum and
# a running answer `a`; when a new piece brings a larger maximum, shrink what was gathered by `exp(m_old − m_new)`. (A
# piece that is wholly hidden leaves `m` at −∞: the trap of section 4 again.)

# %% a row in two pieces
row = S[3]  # the scores of "down", which sees all four keys
m, total, a = -np.inf, 0.0, np.zeros(D)
for piece in (slice(0, 2), slice(2, 4)):
    m_new = max(m, row[piece].max())
    weight = np.exp(row[piece] - m_new)
    shrink = np.exp(m - m_new)  # 0 at the first piece: nothing to shrink yet
    total = shrink * total + weight.sum()
    a = shrink * a + weight @ V[piece]
    m = m_new
print("in pieces:", a / total)
print("at once:  ", out[0, 3, 0])

# %% [markdown]
# **2. P comes back from one number per row.** Keep `L = m + ln(sum)`, and `P = exp(S − L)`: on the way back the product
# `Q Kᵀ` is computed once more, and no matrix waits in memory.
#
# **3. The row sum needs no row.** `rowsum(dP ∘ P) = rowsum(dout ∘ out)`, because `dP = dout Vᵀ` and `P V = out` (Dao et
# al. 2022, appendix B.2). So each piece can be finished without seeing the others.

# %% the two identities
L = m + np.log(total)
print("P from L:         ", np.exp(row - L).round(4), "  stored:", P[3].round(4))
print("rowsum(dP P):     ", (dP * P).sum(-1).round(4))
print("rowsum(dout out): ", (dOut * out[0, :, 0]).sum(-1).round(4))
tiled, logsumexp = flash_forward(q, k, v, mask=None, causal=True, tile=2)
print("the library's, in tiles of 2:", np.allclose(tiled, out))

# %% what this page claimed
hidden = np.triu(np.ones((T, T), bool), k=1)
assert np.allclose(P.sum(-1), 1)
assert not P[hidden].any() and not dS[hidden].any()  # exactly 0, both ways
assert not dQ[0].any()  # the first query is trained by nothing
assert np.array_equal(right[1, :2], forgotten[1, :2])
assert np.allclose(left[1, 2:], out[0, :2])
assert not np.allclose(left_forgotten[1, 2:], out[0, :2])
assert np.isfinite(left).all() and not left[1, 0].any()  # zeros, no NaN
assert report.ok and error(dq[0, :, 0], dQ) < 1e-12
assert min(mistakes.values()) > 0.1
assert seen_right == words and seen_wrong == words[2:]
assert [letters[i] for i in guess[5:].argmax(-1)] == ["B", "C", "D"]
assert np.allclose(a / total, out[0, 3, 0]) and np.allclose(np.exp(row - L), P[3])
assert np.allclose((dP * P).sum(-1), (dOut * out[0, :, 0]).sum(-1))
assert np.allclose(tiled, out) and np.allclose(logsumexp[0, 0, 3], L)

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start attention`: forward and backward, with the causal and the padding mask. Have in mind: the
#   scale on all three paths, the row sum, S − T + t, and the row that sees nothing.
# - `scratchgpt homework start flash_attention`: the same numbers without ever holding a row of P. Sections 5 and 7 have
#   every formula it needs.
#
# Stack a dozen of these and the numbers grow or die on the way, forward and backward. What keeps them alive is the next
# lesson: layer norm, residuals, and how to begin.
