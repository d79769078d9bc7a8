# %% [markdown]
# # Word vectors: skip-gram, neighbours, analogies, and where they fail
# About 20 minutes. You need vectors and their products; lesson 1 if you want to follow the gradients.
#
# To a program a word is a number in a list, and word 17 is no more like word 18 than like word 4,000. This lesson gives
# each word a *vector*, so that words used alike lie near each other, and learns those vectors from nothing but running
# text: word2vec (Mikolov et al. 2013a, 2013b). It was the first pretraining that everybody used. What it cannot do is
# the reason for all later ones.
#
# ## 1. The company of a word
# "You shall know a word by the company it keeps" (Firth 1957). So take a text and write down, for each word, the words
# beside it: a *centre* and a *context*. Four sentences, and a window of one word to each side:

# %% pairs
from itertools import permutations

import numpy as np

from scratchgpt import TrainConfig, Trainer
from scratchgpt.data import load_text, split_documents
from scratchgpt.data.skipgrams import Draws, SkipGrams, pairs_around
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig
from scratchgpt.neighbours import analogy, nearest, score, unit
from scratchgpt.tokenizers import WordTokenizer

sentences = ["king rules land", "queen rules land", "dog eats meat", "cat eats meat"]
words = ["king", "queen", "dog", "cat", "rules", "eats", "land", "meat"]
tiny = WordTokenizer(words)
pairs = []
for sentence in sentences:  # @over
    ids = tiny.encode_array(sentence)
    reach = np.ones(len(ids), int)  # one word to each side
    centres, contexts = pairs_around(ids, np.arange(len(ids)), reach, window=1)
    pairs += zip(centres.tolist(), contexts.tolist())
print(len(pairs), "pairs:", *(f"{words[w]}-{words[c]}" for w, c in pairs[:8]), "...")

# %% [markdown]
# `king` never stands beside `queen`. All that the two have in common is that `rules` comes after them.
#
# ## 2. A guessing game, and one step of it
# Every word gets *two* vectors: one for when it is the centre, one for when it is a context. Now a game. Someone shows
# a centre and a few candidates: one really stood beside it, the other K were drawn at random (*negatives*). For each
# candidate, say how likely it is the real one: `p = σ(context · centre)`, with `σ(z) = 1/(1 + e⁻ᶻ)`. The loss is
# `−log p` for the real one and `−log(1 − p)` for each negative (Mikolov et al. 2013b, equation 4).
#
# The vectors of the centres start small and random, those of the contexts at 0. One pair, `king` and `rules`, and two
# negatives:

# %% forward, by hand
model = Word2Vec(Word2VecConfig(vocab_size=8, n_embd=2), seed=1, dtype="float64")  # @over
centre, context = model.params["centre"], model.params["context"]  # (V, C) each
centre *= 4  # so that the numbers below can be read
king, rules, meat, dog = (tiny.id_of(word) for word in ("king", "rules", "meat", "dog"))
candidates = [rules, meat, dog]
x = centre[king]  # (C,)
y = context[candidates]  # (1 + K, C)
p = 1 / (1 + np.exp(-(y @ x)))  # (1 + K,)
target = np.array([1, 0, 0])
first_loss = -np.log(np.where(target == 1, p, 1 - p)).sum()
print("p =", p, "  loss:", first_loss.round(4), " 3 ln 2:", (3 * np.log(2)).round(4))

# %% [markdown]
# Nothing is known, so every p is ½: a coin is tossed three times. The way back is short: `d loss / d (y·x)` is
# `p − target`, and a product passes its gradient on to each side times the other side (lesson 1).

# %% [markdown] predict
# After the first update by gradient descent, which vectors have moved?
# - that of the centre
# - those of the candidates
# - both
# <!-- answer: "both" if all(moved) else "that of the centre" if moved[0] else "those of the candidates" -->
# The centre's gradient is a sum of *context* vectors, and those are all 0. The candidates' gradient is a multiple of
# the centre, which is not. From the second update on, both move. Had *both* tables started at 0, neither would ever.

# %% backward, by hand, and one update
error = p - target  # (1 + K,)
dx = error @ y  # (C,)
dy = np.outer(error, x)  # (1 + K, C)
loss, cache = model.loss({"input_ids": [king], "context_ids": [candidates]})
model.backward(cache)
g_centre, g_context = model.params.grad_of("centre"), model.params.grad_of("context")
same = np.allclose(g_centre[king], dx) and np.allclose(g_context[candidates], dy)
print("by hand and by the library:", "the same" if same else "different")
model.params.data -= 1.0 * model.params.grad  # the learning rate is 1
moved = bool(g_centre.any()), bool(g_context.any())
rows = ["king (centre)", "rules", "meat", "dog"]
print(Heat([x, *context[candidates]], rows, title="after one update"))
p_then = 1 / (1 + np.exp(-(context[candidates] @ centre[king])))
print("p =", p_then.round(3))

# %% [markdown]
# `rules` has been pulled towards `king`, `meat` and `dog` pushed away from it: p has risen for the one and fallen for
# the others. That is all that ever happens, a few million times.
#
# ## 3. What the game teaches
# Now all sixteen pairs, each with every word as a negative equally often, K = 2 at a time, until nothing changes.

# %% [markdown] predict
# `king` and `queen` never stand beside each other. The cosine of the angle between their two centre vectors becomes …
# - about 1: they point the same way
# - about 0: they have nothing to do with each other
# - about −1: they are pushed apart
# <!-- answer: "about 1: they point the same way" if likeness[0, 1] > 0.95 else "something else" -->
# Both must give a large product with `rules` and a small one with everything else. Vectors that must do the same
# become the same. Likeness of *use* has become nearness, although nobody said so. `king` and `rules` do stand beside
# each other and are not alike: what counts is to *have* the same neighbours, not to be neighbours. And look at `land`:
# it is as much like `king` as the queen is, because skip-gram does not see on which side of `rules` a word stands.

# %% sixteen pairs, many updates
V, K = 8, 2
tiny_model = Word2Vec(Word2VecConfig(vocab_size=V, n_embd=4), seed=0, dtype="float64")  # @over
w, c = np.array(pairs).repeat(V // K, axis=0).T
negatives = np.tile(np.arange(V).reshape(-1, K), (len(pairs), 1))
batch = {"input_ids": w, "context_ids": np.column_stack([c, negatives])}
for _ in range(1500):  # @skip
    tiny_model.params.grad.fill(0)
    tiny_model.backward(tiny_model.loss(batch)[1])
    tiny_model.params.data -= 0.7 * tiny_model.params.grad
tiny_centre, tiny_context = tiny_model.params["centre"], tiny_model.params["context"]
likeness = unit(tiny_centre) @ unit(tiny_centre).T
print(Heat(likeness, words, words, title="cosines of the centre vectors"))

# %% [markdown]
# And the products themselves? Levy & Goldberg (2014) set the derivative to zero: the best product of w and c is
#
# `log( p(c beside w) / q(c) ) − log K`
#
# where q is how often a negative is drawn. The first part is *pointwise mutual information*: by how much a word makes
# another more likely than chance. Two tables, 4 numbers a word, have factored an 8 × 8 matrix of what words say about
# each other. Pairs that never occur would need −∞; those keep sinking, ever more slowly.

# %% products, and what theory says
products = tiny_centre @ tiny_context.T  # (V, V)
seen = np.zeros((V, V))
for w_id, c_id in pairs:  # @skip
    seen[w_id, c_id] += 1
with np.errstate(divide="ignore"):
    theory = np.log(seen / seen.sum(1, keepdims=True) / (1 / V)) - np.log(K)
beside = np.column_stack([products[:, 4:], theory[:, 4:]])  # the columns of the last four words
print(Heat(beside, words, [*words[4:], *(f"{word}, theory" for word in words[4:])]))
gap = np.abs(products - theory)[seen > 0].max()
print("largest difference, of the pairs that occur:", gap.round(3))

# %% [markdown]
# ## 4. Real text
# Thirty years of addresses to the United States' Congress, 1990 to 2019; the last ones are held out. The vocabulary is
# every word that occurs at least five times. Two tricks of the paper are about *frequent* words, which make up most of
# a text and say the least: an occurrence of a word whose share of the text is s stays with probability `√(t/s)` (and
# for certain if s < t), and negatives are drawn by counts to the power ¾.

# %% words, and how often they take part
training, held_out = split_documents(load_text("addresses"))  # @over
tokenizer = WordTokenizer.train(training, min_count=5)  # @over
train_ids, val_ids = tokenizer.encode_array(training), tokenizer.encode_array(held_out)  # @over
counts = np.array(tokenizer.counts)
draws = Draws(counts)  # @over
print(f"{len(train_ids):,} words of {len(counts):,} kinds, {len(val_ids):,} held out; t = {draws.subsample}")
print(f"half of the kinds occur {np.median(counts):.0f} times or fewer")
shown = tokenizer.encode("the and america jobs iraq verge")  # @over
table = 1000 * np.array([counts / counts.sum(), draws.frequency, draws.noise])[:, shown].T
cols = ["in the text", "when thinned out", "drawn as negatives"]
print(Heat(table, [tokenizer.words[i] for i in shown], cols, title="times in 1,000 words"))

# %% [markdown]
# Training is what you have seen, with windows of up to five words, K = 5, and AdamW for the plain steps. The number to
# watch is the loss per pair on text that was held out. It has two marks to beat: the coin, `6 ln 2`, and a player who
# knows how frequent each candidate is, but never looks at the centre.


# %% a few passes over the text
def train(train_ids, val_ids, epochs):
    """A word2vec trained on ids: (its trainer, how well it plays on the rest)."""
    shape = Word2VecConfig(vocab_size=len(counts), n_embd=48)
    steps = epochs * len(train_ids) // 512
    config = TrainConfig(steps=steps, batch_size=512, lr=0.02, weight_decay=0.0, eval_every=steps // 12)
    data = SkipGrams(train_ids, val_ids, shape, config)
    trainer = Trainer(Word2Vec(shape, seed=0), None, config=config, data=data, quiet=True)
    return trainer, trainer.run()


epochs = 4  # @short 2
trainer, result = train(train_ids, val_ids, epochs)  # @over
lines = trainer.lines
glances = [record for record in trainer.history if "val_loss" in record]
steps, curve = [record["step"] for record in glances], [record["val_loss"] for record in glances]
marks = {"frequencies": lines["frequencies"]}
print(Curves({"held out": curve}, x=steps, lines=marks, title="nats per pair", xlabel="updates"))
print(f"a coin {lines['coin']:.3f}, frequencies {lines['frequencies']:.3f}, word2vec {result.nats_per_token:.3f}")
print(f"the real context before all five negatives: {result.first:.1%}; by chance {1 / 6:.1%}")

# %% [markdown]
# It is not a large gap: most of what stands beside a word is not about the word. But look what it is made of.
#
# ## 5. Neighbours
# Which words point the same way? Sort all words by the cosine with one of them.

# %% [markdown] predict
# Which word is nearest to `republicans`?
# - conservatives
# - democrats
# - party
# <!-- answer: closest -->
# Nobody told the program what a party is. But whoever says "republicans" in an address tends to say "and democrats",
# and to say the same things around both.

# %% the nearest words
vectors = unit(trainer.model.params["centre"])  # (V, C), rows of length 1


def show_nearest(word, vectors, n=6):
    """The words most like a word, but itself."""
    i = tokenizer.id_of(word)
    found = nearest(vectors, vectors[i], n, without=[i])
    print(f"{word:12}", *(f"{tokenizer.words[j]} {cosine:.2f} " for j, cosine in found))
    return tokenizer.words[found[0][0]]


closest = show_nearest("republicans", vectors)  # @over
for word in ("iraq", "school", "oil", "tax", "women"):  # @over
    show_nearest(word, vectors)

# %% [markdown]
# ## 6. Where they fail: opposites
# *Used alike* is not *meaning the same*. Opposites are used alike: hot and cold both come before "weather".

# %% opposites
opposites = [
    *(("republicans", "democrats"), ("men", "women"), ("boys", "girls"), ("mothers", "fathers"), ("north", "south")),
    *(("more", "less"), ("buy", "sell"), ("higher", "lower"), ("friends", "enemies"), ("surplus", "deficit")),
    *(("imports", "exports"), ("rich", "poor"), ("success", "failure"), ("war", "peace")),
]
opposite_ids = np.array([tokenizer.encode(" ".join(two)) for two in opposites])  # @over
alike = (vectors[opposite_ids[:, 0]] * vectors[opposite_ids[:, 1]]).sum(1)  # their cosines
rng = np.random.default_rng(0)
some = vectors[rng.integers(0, len(vectors), (2, 5000))]
usual = float((some[0] * some[1]).sum(1).mean())
bars = {f"{a} - {b}": cosine for (a, b), cosine in zip(opposites, alike)}
print(Bars(bars | {"any two words": usual}, title="cosines of opposites"))
print(f"mean of the opposites {alike.mean():.2f}, of any two words {usual:.2f}")

# %% [markdown]
# Whoever replaces a word by its nearest neighbour may turn a sentence into its contrary. (Two words drawn at random
# have a cosine above 0: the vectors share a direction that says little.)
#
# ## 7. Where they fail: analogies
# The famous trick: `king − man + woman` is near `queen` (Mikolov et al. 2013c). From a billion words of news, vectors
# of this kind answered about 60% of such questions right (Mikolov et al. 2013b, table 1). Now ours.

# %% [markdown] predict
# Of the analogies below, how many does a word2vec of these addresses answer right?
# - about 5%
# - about 25%
# - about 60%
# <!-- answer: min(("about 5%", "about 25%", "about 60%"), key=lambda option: abs(int(option[6:-1]) / 100 - right)) -->
# Not two hundred thousand words are few: half of the vocabulary was seen a dozen times or less, and a direction such as
# "more than one" takes many. The other number is a warning about the game itself. By custom the three words of the
# question cannot be the answer. If they can, it is very often one of them (Linzen 2016): much of the famous arithmetic
# is nearness.

# %% man is to king as woman is to ...
families = {
    "male : female": "man woman  father mother  fathers mothers  boys girls  he she  husband wife  son daughter",
    "one : many": "child children  family families  job jobs  school schools  country countries  worker workers",
    "strong : stronger": "strong stronger  great greater  high higher  low lower  safe safer  good better",
    "iraq : iraqi": "iraq iraqi  afghanistan afghan  america american  russia russian  europe european",
    "make : made": "make made  take took  come came  give gave  begin began  know knew  see saw  build built",
}
questions = {}
for name, listed in families.items():  # @over
    couples = zip(listed.split()[::2], listed.split()[1::2])
    questions[name] = [(*one, *other) for one, other in permutations(couples, 2)]
sections = score(vectors, tokenizer, questions)  # @over
asked = sum(section.known for section in sections)
right = sum(section.right for section in sections) / asked
given = 0
for a, b, c, _ in (map(tokenizer.id_of, row) for rows in questions.values() for row in rows):  # @skip
    answer, _ = nearest(vectors, vectors[b] - vectors[a] + vectors[c], 1)[0]
    given += answer in (b, c)
print(Bars({section.name: section.right for section in sections}, title="right answers"))
print(f"right: {right:.1%} of {asked}; if b and c may be the answer, it is one of them in {given / asked:.0%}")
for a, b, c in (("he", "she", "husband"), ("child", "children", "family"), ("good", "better", "strong")):  # @skip
    found = analogy(vectors, *map(tokenizer.id_of, (a, b, c)), 3)
    print(f"{a} : {b} = {c} : ?  ", *(tokenizer.words[i] for i, _ in found))

# %% [markdown]
# ## 8. Where they fail: one vector for two meanings
# A word with two meanings has one vector. To see what that does, we make such a word: wherever the text says `iraq`,
# let it say `school`, and train once more. (Invented ambiguous words are an old trick, because one knows what they
# meant: Gale, Church & Yarowsky 1992.)

# %% [markdown] predict
# Before, `afghanistan` was near `iraq` and `graduate` near `school`, and each far from the other. Now both words are
# one. Its vector is …
# - near to both, though less than before
# - near to one of them, far from the other
# - near to neither
# <!-- answer: "near to both, though less than before" if between.all() else "another answer" -->
# A sum of what it did in two jobs. The reader of "the schools of Iraq" knows at each place which one is meant; this
# vector is the same at every place. The more frequent meaning has the larger part of it.

# %% iraq and school become one word
iraq, school = tokenizer.encode("iraq school")
one_word = np.where(train_ids == iraq, school, train_ids)
fused_trainer, _ = train(one_word, np.where(val_ids == iraq, school, val_ids), epochs)  # @over
fused_vectors = unit(fused_trainer.model.params["centre"])
witnesses = tokenizer.encode("afghanistan iraqi graduate diploma")
apart = vectors[witnesses] @ vectors[[iraq, school]].T  # (4, 2)
fused = fused_vectors[witnesses] @ fused_vectors[school]  # (4,)
own, other = apart.max(1), apart.min(1)  # of each witness: the word it was near to, and the other one
own, other, now = (each.reshape(2, 2).mean(1) for each in (own, other, fused))  # means over two witnesses
between = (now > (own + other) / 2) & (now < own)
names = [tokenizer.words[i] for i in witnesses]
print(f"iraq {counts[iraq]} times, school {counts[school]} times")
print(Heat(np.column_stack([apart, fused]), names, ["iraq", "school", "both in one"], title="cosines"))
show_nearest("school", fused_vectors, n=10)

# %% [markdown]
# ## 9. Where they fail: rare words
# We now have two trainings on almost the same text. Do they agree on who is near whom? For each word, how many of its
# ten nearest are among its ten nearest in the other:


# %% agreement of two trainings
def ten_nearest(vectors):  # @over
    cosines = vectors @ vectors.T  # (V, V)
    np.fill_diagonal(cosines, -1)
    return np.argpartition(-cosines, 10, axis=1)[:, :10]  # in any order


both = zip(ten_nearest(vectors), ten_nearest(fused_vectors))  # @over
shared = np.array([len(set(one) & set(other)) / 10 for one, other in both])  # @over
bins = {"5 to 7 times": (5, 8), "8 to 39 times": (8, 40), "40 times or more": (40, 10**6)}
agreement = {}
for name, (low, high) in bins.items():  # @over
    agreement[name] = float(shared[(counts >= low) & (counts < high)].mean())
print(Bars(agreement, title="share of the ten nearest that two trainings agree on, by how often a word occurs"))

# %% [markdown]
# A word that was seen half a dozen times has a vector, and neighbours, and they are mostly chance. Nothing in the
# vector says so. And a word that was never seen has none at all: there are no pieces here to make it from (lesson 2).
#
# ## 10. What comes next
# Three of these failures are one: a word's vector was fixed before the sentence was read. The models of lesson 7 read
# the sentence first and give each *occurrence* a vector of its own. What stays is the first layer of every one of them:
# a table with a row for each token, as here, trained by its gradient, as here.

# %% what this page claimed
assert abs(first_loss - 3 * np.log(2)) < 1e-9 and same and moved == (False, True)
assert p_then[0] > 0.5 > p_then[1:].max()
assert likeness[0, 1] > 0.99 and likeness[0, 6] > 0.99 and likeness[0, 4] < 0.6
assert gap < 0.01
assert table[0, 0] > table[0, 1:].max() and table[-1, 0] < table[-1, 1:].min()  # the, verge
assert np.median(counts) <= 12
assert curve[0] > result.nats_per_token and result.nats_per_token < lines["frequencies"] < lines["coin"]
assert result.first > 1 / 6 + 0.05
assert alike.mean() > usual + 0.1
assert right < 0.15 and given / asked > 0.3
assert between.all()
assert agreement["5 to 7 times"] < agreement["40 times or more"] < 0.9

# %% [markdown]
# ## Your turn
# `scratchgpt homework start embedding`: the lookup and its gradient, with a word that occurs several times in a batch:
# its row gets the *sum* of what its uses say. Both tables of this lesson are trained by exactly that.
#
# `scratchgpt train --model word2vec --data my.txt` trains on your own text; then
# `scratchgpt embed runs/my-word2vec --word ...` shows neighbours, `--analogy man king woman` completes an analogy, and
# `--analogies questions-words.txt` counts the right ones of a whole file.
