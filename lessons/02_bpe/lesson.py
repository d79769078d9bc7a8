# %% [markdown]
# # Byte-pair encoding, and what a vocabulary costs
# About 20 minutes. You need a little Python; no calculus, no earlier lesson.
#
# A language model reads and writes integers. Something must cut a text into pieces and number them, before any learning
# starts and for good: the model never sees the text again. This lesson builds that something, byte-pair encoding (Gage
# 1994; Sennrich, Haddow & Birch 2016), runs it on nine of Shakespeare's plays, and then adds up the bill.
#
# ## 1. Why not words?
# The obvious pieces are words. Take every word of the first nine tenths of the plays as the vocabulary, and read the
# last tenth with it.

# %% [markdown] predict
# Of the words in the last tenth, how many does the vocabulary not know?
# - almost none: nine plays hold the language
# - about 1 in 20
# - about 1 in 4
# <!-- answer: "about 1 in 20" if 0.035 < unknown_share < 0.07 else "another share" -->
# Each becomes UNK, and what it meant is lost. More text does not end this: names, inflections and typing errors never
# run out, and of the words that *are* known nearly half were seen only once. Single characters know every word but make
# texts long. We want pieces in between: whole words where they are frequent, parts where they are not.

# %% A vocabulary of words
import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np

from scratchgpt.data import load_text, split_text
from scratchgpt.lesson import Bars, Curves
from scratchgpt.models.gpt import PRESETS, GPTConfig, count_parameters, training_flops_per_token
from scratchgpt.tokenizers import BPETokenizer
from scratchgpt.tokenizers.algorithm1 import (
    algorithm1,
    algorithm1_words,
    count_pairs,
    encode,
    encode_bytes,
    most_frequent,
    split_gpt2,
)


def read_with_words(training, held_out):
    known = Counter(re.findall(r"[A-Za-z']+", training))
    words = re.findall(r"[A-Za-z']+", held_out)
    unknown = [word for word in words if word not in known]
    once = [word for word, times in known.items() if times == 1]
    print(f"{len(known):,} words known, {len(once) / len(known):.0%} of them seen only once")
    print(f"{len(unknown) / len(words):.1%} of the next {len(words):,} are unknown:", *unknown[42:46])
    return len(unknown) / len(words), len(once) / len(known)


training, held_out = split_text(load_text("plays"))  # @over
unknown_share, once_share = read_with_words(training, held_out)  # @over

# %% [markdown]
# ## 2. Algorithm 1
# Start with the single characters as the vocabulary V. While V is smaller than the size k you asked for: find the most
# frequent pair of neighbours, make it a new symbol, and replace it everywhere. That is all. By hand, on `AACGCACTATATA`
# with V = {A, C, G, T} and k = 6, so two rounds:

# %% [markdown] predict
# Which pair is merged first?
# - AC
# - AT
# - CA
# - TA
# <!-- answer: first.symbol -->
# TA occurs three times, at the end of the text. AC and AT occur twice each.

# %% Round one
text = "AACGCACTATATA"
counts = count_pairs([tuple(text)], [1])  # one text, which counts once
print(Bars({"".join(pair): n for pair, n in counts.items()}, title="Pairs of neighbours"))
steps = algorithm1([text], vocab_size=6)
first = next(steps)
print(f"merge {' + '.join(first.pair)}, seen {first.count} times:", " ".join(first.texts[0]))

# %% [markdown]
# Round two holds a detail on which programs differ.

# %% [markdown] predict
# How often should the pair (TA, TA) count in TA TA TA?
# - 1
# - 2
# - 3
# <!-- answer: recount[("TA", "TA")] -->
# Merging it would give TATA TA: one replacement, because the middle TA can be used only once. So one is what merging
# would gain. (In a run of four, two.) `Counter(pairwise(symbols))` says 2, and here that matters: it ties with AC.

# %% Round two
recount = count_pairs(first.texts, [1])
naive = Counter(pairwise(first.texts[0]))
print("from the left, without overlap:", {"".join(pair): n for pair, n in recount.most_common(3)})
print("all neighbours:", {"".join(pair): n for pair, n in naive.most_common(3)})
second = next(steps)
print(f"merge {' + '.join(second.pair)}, seen {second.count} times:", " ".join(second.texts[0]))
vocabulary = [*sorted(set(text)), first.symbol, second.symbol]
print("V =", vocabulary)

# %% [markdown]
# And ties? The algorithm does not say; a program must. The rule here: of the most frequent pairs the lexicographically
# *greatest* wins. Any rule will do, as long as it never changes: another rule gives another vocabulary, and a model
# trained on one is useless with the other.
#
# ## 3. Encoding is replaying
# The result of training is not the vocabulary but the **list of merges, in order**. To encode a new text, apply each
# merge to it, first learned, first applied. To decode, join the symbols.

# %% [markdown] predict
# What does `TACTATAC` become, with the merges TA, then AC?
# - T AC TA T AC
# - TA C TA T AC
# - TA C TA TA C
# <!-- answer: " ".join(encoded) -->
# TA and AC compete for the A, and TA was learned first. Reversed, the same two merges cut differently, as the second
# line shows. Looking for the longest symbol that fits is another algorithm, and a common mistake.

# %% Encode
merges = [first.pair, second.pair]
encoded = encode(tuple("TACTATAC"), merges)
print(" ".join(encoded), "| reversed:", " ".join(encode(tuple("TACTATAC"), merges[::-1])))  # @over
assert "".join(encoded) == "TACTATAC"

# %% [markdown]
# ## 4. Words, and where they end
# On real text we do not want merges across words. Sennrich et al. (2016, section 3.2) cut at white space, count each
# distinct word once with its frequency as a weight, and close each word with a symbol of its own, `</w>`. Their
# example:

# %% The end-of-word symbol
corpus = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
word_steps = list(algorithm1_words(corpus, vocab_size=11 + 7))  # @over
for step in word_steps:  # @skip
    print(f"{' + '.join(step.pair):14} {step.count}x  ->  {step.symbol}")
word_merges = [step.pair for step in word_steps]
newest = encode((*"newest", "</w>"), word_merges)  # @over
estimate = encode((*"estimate", "</w>"), word_merges)  # @over
print(" ".join(newest), "|", " ".join(estimate))

# %% [markdown]
# Three pairs tie at 9 in the first round. The paper's program takes another one first and arrives at the same `est</w>`
# after three. It is an *ending*: the est of "estimate" is left in letters. A frequent word is one symbol, a word never
# seen is several, and nothing is unknown, as long as every *letter* was seen.
#
# ## 5. Bytes
# Letters do run out: é, 日, 😀. So GPT-2 starts from the 256 bytes (Radford et al. 2019, section 2.2). Every text is a
# sequence of bytes (UTF-8), so UNK is impossible by construction.

# %% [markdown] predict
# Before any merge is learned, how many ids is 😀?
# - 1
# - 2
# - 4
# <!-- answer: n_ids["😀"] -->
# Other scripts pay for a vocabulary learned on English: more ids for the same text, hence shorter memory and higher
# cost. Multilingual models answer with larger vocabularies. And the bytes of one character can fall into two tokens, so
# decode the joined bytes, never token by token.

# %% Characters as bytes
n_ids = {character: len(encode_bytes(character, merges=[])) for character in "Aé日😀"}  # @over
print({character: list(character.encode("utf-8")) for character in n_ids})
print(Bars(n_ids, title="ids per character, before any merge"))
pieces = split_gpt2("They're here, O Romeo! 1597")
print(pieces)

# %% [markdown]
# Instead of `</w>`, GPT-2 cuts with a pattern (the last line): a word takes the space *before* it along, punctuation
# and digits stand alone, and merges never leave a piece. Otherwise "dog.", "dog!" and "dog?" would each take a place in
# the vocabulary.
#
# ## 6. Nine plays
# The same algorithm, made fast, on the training text. One property saves much work: merges are learned one by one, so
# **the vocabulary of size k is a prefix of every larger one**. Train once, cut anywhere. The slider doubles the
# vocabulary, starting from the bare bytes.

# %% A sentence at several sizes
doublings = 3  # @param {type:"slider", min:0, max:5, step:1}
full = BPETokenizer.train(training, 256 * 2**5, special_tokens=())  # @over


def show_symbols(merges):
    symbols = [(left + right).decode().replace(" ", "_") for left, right in merges]
    print("first:", *symbols[:16])
    print("longest:", *sorted((symbol for symbol in symbols if symbol.strip("_\n")), key=len)[-4:])


def cut_to(vocab_size):
    return BPETokenizer(full.merges[: vocab_size - 256], special_tokens=())


show_symbols(full.merges)  # @over
tokenizer = cut_to(256 * 2**doublings)  # @over
sentence = "O Romeo, Romeo! wherefore art thou Romeo? Untokenizable."
ids = tokenizer.encode(sentence)  # @over
tokens = [tokenizer.decode([i]) for i in ids]  # @over
print(f"vocabulary {tokenizer.vocab_size}: {len(ids)} ids for {len(sentence)} bytes")
print("|".join(tokens).replace(" ", "_"))
print(ids)

# %% [markdown]
# ## 7. What size buys
# The gain is compression: fewer tokens for the same text, so fewer steps to read it, and a context of n tokens that
# reaches further back. Measured, as it should be, on the tenth that was held out. And since encoding is replaying, the
# text need be encoded only once, with all merges: undo the later ones, and each symbol falls back into its two parts.

# %% [markdown] predict
# A vocabulary of 4,096 in place of 2,048: how many tokens does it save on the held-out text?
# - about half
# - about a quarter
# - about a tenth
# <!-- answer: "about a tenth" if 0.07 < saved < 0.15 else "another share" -->
# The frequent pairs are merged first, and each doubling reaches rarer ones. Word frequencies fall off as a power of the
# rank (Zipf 1949), so the return on every doubling falls. And what was learned from the training text fits it better
# than any other: the gap between the two curves.


# %% Compression against size
def uses_by_size(text):
    number = {symbol: i for i, symbol in full.vocab.items()}
    uses = np.bincount(full.encode_array(text), minlength=len(number))  # of each symbol
    by_size = {}
    for V in reversed(vocab_sizes):
        for left, right in reversed(full.merges[V - 256 : len(uses) - 256]):
            uses[number[left]] += uses[number[left + right]]
            uses[number[right]] += uses[number[left + right]]
        uses = uses[:V]
        by_size[V] = uses.copy()
    return by_size


def bytes_per_token(text, uses):
    return {V: len(text.encode("utf-8")) / uses[V].sum() for V in vocab_sizes}


vocab_sizes = [256 * 2**i for i in range(6)]
uses = uses_by_size(training)  # @over
seen = bytes_per_token(training, uses)  # @over
unseen = bytes_per_token(held_out, uses_by_size(held_out))  # @over
labels = [math.log2(V) for V in vocab_sizes]
curves = {"training text": list(seen.values()), "held-out text": list(unseen.values())}
print(Curves(curves, x=labels, xlabel="log₂ of the vocabulary size", ylabel="bytes per token"))
saved = 1 - unseen[2048] / unseen[4096]
print(f"from 2,048 to 4,096: {saved:.1%} fewer tokens")
for V in (256, 2048, 8192):  # @skip
    print(f"{V:5}:", *cut_to(V).encode(held_out[:60])[:12])

# %% [markdown]
# ## 8. What size costs
# Every symbol needs a row of C numbers in the embedding. And to predict the next token the model scores all V of them:
# 6·V·C operations per token in the output head, 2 for each product forward and 4 backward (Kaplan et al. 2020). Take a
# GPT of 4 layers and width 128, which trains in minutes. Fewer tokens per byte, but more work per token: the product
# decides.

# %% [markdown] predict
# At which vocabulary size does this GPT need the fewest operations *per byte of text*?
# - 512
# - 2048
# - 8192
# <!-- answer: min(small, key=small.get) -->
# Below it the text is too long, above it the head is too wide. For a GPT of the size of GPT-2 the head is a small part
# of the work and the best size lies beyond what these plays can fill: large models have large vocabularies because they
# can afford them.


# %% Operations per byte
def flops_per_byte(vocab_size, n_layer, n_embd):
    config = GPTConfig(vocab_size=vocab_size, n_ctx=128, n_layer=n_layer, n_head=4, n_embd=n_embd)
    return training_flops_per_token(config) / unseen[vocab_size]


small = {V: flops_per_byte(V, n_layer=4, n_embd=128) for V in vocab_sizes}  # @over
large = {V: flops_per_byte(V, n_layer=12, n_embd=768) for V in vocab_sizes}  # @over
models = {"width 128": small, "width 768": large}
relative = {name: [f / flops[256] for f in flops.values()] for name, flops in models.items()}
title = "Operations per byte of text; with bytes alone, 1"
print(Curves(relative, x=labels, xlabel="log₂ of the vocabulary size", title=title))
shares = {}
for name in ("gpt1", "gpt2", "gpt2-xl", "gpt3"):  # @skip
    parts = count_parameters(PRESETS[name])
    shares[name] = 100 * parts["token embedding"] / sum(parts.values())
print(Bars(shares, title="Share of the parameters that is the token embedding", unit="%"))

# %% [markdown]
# Two more costs. A symbol that occurs rarely is trained rarely: its row of the embedding stays near where chance put
# it. And a loss *per token* cannot be compared between vocabularies, for the tokens are different things. Below, the
# loss of a guesser that knows only how frequent each token is in this text (its entropy `−Σ p ln p`, Shannon 1948): per
# token, and per byte of text, which is the fair unit.

# %% Rare symbols, and a fair unit
print("    V  seen < 100 times  nats per token  bits per byte")
per_token, per_byte = {}, {}
for V in vocab_sizes:  # @skip
    p = uses[V][uses[V] > 0] / uses[V].sum()
    per_token[V] = -(p * np.log(p)).sum()
    per_byte[V] = per_token[V] / math.log(2) / seen[V]
    print(f"{V:5}  {(uses[V] < 100).mean():16.0%}  {per_token[V]:14.2f}  {per_byte[V]:13.2f}")

# %% [markdown]
# (Of the 256 bytes, most never occur in English.) The last two columns run in opposite directions. A larger vocabulary
# looks *worse* per token and is better per byte: each guess is harder, but there are fewer of them. Whenever someone
# quotes a perplexity, ask: per what?

# %% The claims
assert 0.4 < once_share < 0.5
assert (first.symbol, first.count) == ("TA", 3) and (second.symbol, second.count) == ("AC", 2)
assert recount[("TA", "TA")] == 1 and naive[("TA", "TA")] == naive[("A", "C")] == 2
assert most_frequent(naive) == ("TA", "TA")  # the naive count merges something else
assert encode(tuple("TACTATAC"), merges) != encode(tuple("TACTATAC"), merges[::-1])
assert word_steps[2].symbol == "est</w>" and "est</w>" not in estimate
assert tokenizer.decode(ids) == sentence and b"".join(encode_bytes("日😀", [])).decode() == "日😀"
assert full.merges[:256] == BPETokenizer.train(training, 512, special_tokens=()).merges  # a prefix
assert len(held_out.encode("utf-8")) / len(cut_to(2048).encode_array(held_out)) == unseen[2048]
assert list(unseen.values()) == sorted(unseen.values()) and unseen[8192] < seen[8192]
assert min(small, key=small.get) < min(large, key=large.get)
assert list(per_token.values()) == sorted(per_token.values())
assert list(per_byte.values()) == sorted(per_byte.values(), reverse=True)

# %% [markdown]
# ## Your turn
# ```
# scratchgpt homework start bpe
# ```
# Write the loop. What goes wrong, in this order: pairs counted with overlap; ties left to the order of a dictionary;
# the weights of the words forgotten; the counts not taken anew after a merge; k taken as the number of *merges*, when
# it is the size of V, alphabet included.
#
# A text is now a row of ids, and each id will pick a row of numbers. Those rows know nothing of each other yet. Lesson
# 3 lets them look.
