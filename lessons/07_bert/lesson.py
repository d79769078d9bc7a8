# %% [markdown]
# # BERT: a model that reads both ways
#
# *About 20 minutes. You need attention (lesson 3), and the training loop and its milestones (lesson 5).*
#
# A GPT sees the past alone, because it has to predict the future. To *understand* a text that is there in full, that is
# a waste: in `she rowed from the bank into the mud` the words that explain `bank` stand on both sides. An *encoder*
# lets every position see every other. But then “predict the next token” is no task any more: the answer is in sight.
# BERT (Devlin et al. 2018) hides some tokens and asks for those.
#
# By the end you can make BERT's training data by hand, say what its loss has to be measured against, have trained two
# small ones, and have watched the two meanings of one word come apart, block by block.
#
# ## 1. Words in pieces
#
# BERT's tokens are *WordPieces*: words, or parts of words; a part that continues a word begins with `##`. The
# vocabulary is learned much as BPE's (lesson 2). To encode, a word is matched from the left, each time with the longest
# piece there is.

# %% [markdown] predict
# The vocabulary has `un`, `una`, `##aff` and `##able`. What becomes of *unaffable*?
#
# - un ##aff ##able
# - una ##aff ##able
# - [UNK], the unknown word
#
# <!-- answer: "[UNK], the unknown word" if pieces is None else " ".join(pieces) -->
#
# Longest first, and never back. At the start `una` is longer than `un`; then nothing begins with `ff`, and the whole
# word is unknown, although there was a way. Real vocabularies hold every letter that they have seen, so it is rare.

# %% the longest match
import numpy as np

from scratchgpt import AdamW
from scratchgpt.data import load_text, split_text
from scratchgpt.data.masked import Pairs, encoded, flat, guessers
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.bert import BERT, BERTConfig
from scratchgpt.objectives import Vocabulary, mask_tokens, pack, pad_rows
from scratchgpt.optim import cosine_schedule
from scratchgpt.tokenizers import WordPieceTokenizer
from scratchgpt.tokenizers.wordpiece import longest_match

pieces = longest_match("unaffable", {"un", "una", "##aff", "##able"})
V, T = 1000, 32
train_text, val_text = split_text(load_text("plays"))  # @over
tokenizer = WordPieceTokenizer.train(train_text, V)  # @over
vocabulary = Vocabulary.of(tokenizer)  # @over
for word in ("hat", "taaaaasty", "laern", "Transformerify"):  # @skip
    print(f"{word:<16}{' '.join(tokenizer.tokens(tokenizer.encode(word)))}")

# %% [markdown]
# Misspelt and invented words come out as pieces, not as a hole. (Our vocabulary has 1,000 tokens; BERT's has 30,522,
# in which `hat` is one token.)
#
# ## 2. Masks
#
# Of each row, 15% of the ordinary tokens are chosen to be predicted. Of the chosen, 80% become `[MASK]`, 10% a random
# token, and 10% stay what they are. Step into `mask_tokens`; it is short.

# %% [markdown] predict
# How many of *all* tokens read `[MASK]` in the end?
#
# - 15%
# - 12%
# - 1.5%
#
# <!-- answer: f"{shares['[MASK]']:.0f}%" -->
#
# 80% of 15%. The loss is about the chosen 15% alone; a GPT has a loss at every token, so BERT learns from a seventh as
# many in each row. That is the price of reading both ways.

# %% a row, and many
line = "What light breaks? It is the east, and Juliet is the sun."
ids, _ = pack(tokenizer.encode_array(line), None, vocabulary, T)  # @over
one = mask_tokens(ids[None], vocabulary, np.random.default_rng(7))
said = tokenizer.tokens(ids)  # @over
reads = tokenizer.tokens(one.input_ids[0])  # @over
print(" ".join(reads))
for place in np.flatnonzero(one.labels[0] != -100):  # @skip
    print(f"place {place:>2}: reads {reads[place]:<10} is to say {said[place]}")

many = np.random.default_rng(0).integers(5, V, (4000, 100))
masked = mask_tokens(many, vocabulary, np.random.default_rng(1))  # @over
hit, now = masked.labels != -100, masked.input_ids
kinds = {
    "[MASK]": hit & (now == vocabulary.mask),
    "another token": hit & (now != vocabulary.mask) & (now != many),
    "itself": hit & (now == many),
}
shares = {kind: 100 * float(where.mean()) for kind, where in kinds.items()}
rounded = {kind: round(share, 3) for kind, share in shares.items()}
print(Bars(rounded, title=f"of {many.size:,} tokens", unit="%"))

# %% [markdown]
# Why not `[MASK]` always? It never occurs in the texts that the model is finetuned on later. If only `[MASK]` were ever
# asked about, the vectors of all other tokens could be anything. So any token may be wrong, and every vector has to
# know what belongs there.
#
# ## 3. Both ways
#
# The same attention as a GPT's, without the causal mask. Ask the gradient who was seen, as in lesson 3.

# %% [markdown] predict
# A row of 8 tokens, then 2 of padding. One token is to be predicted, at place 3. From how many of the 10 places does
# its loss get a gradient?
#
# - 1
# - 4
# - 8
# - 10
#
# <!-- answer: len(places) -->
#
# A GPT would have answered 4. Padding gets none, and not because of its label: nobody may look at it. That is what the
# attention mask is for; without the causal mask it is visible from everywhere (lesson 3).

# %% who is seen
sizes = {"n_ctx": 10, "n_layer": 2, "n_head": 2, "n_embd": 16}
tiny = BERT(BERTConfig(V, **sizes, nsp=False), seed=0)  # @over
row = np.array([[2, 10, 11, 4, 12, 13, 14, 3, 0, 0]])  # 4: [MASK], 0: [PAD]
labels = np.full_like(row, -100)
labels[0, 3] = 99
attention_mask = (row != vocabulary.pad).astype(int)
batch = {"input_ids": row, "labels": labels, "attention_mask": attention_mask}
loss, cache = tiny.loss(batch)  # @over
tiny.backward(cache)  # @over
places = np.flatnonzero(tiny.params.g.wpe.any(1))
print("gradient at the places", places)

# %% [markdown]
# ## 4. Does B follow A?
#
# BERT's second task: two texts in a row, `[CLS] A [SEP] B [SEP]`; half of the time B is what follows A, else it is from
# somewhere else. The answer is read off the first token's vector (*next sentence prediction*). Each token is told
# which text it is in: *segment* 0 or 1, a third embedding beside token and position. Later work found the task
# unnecessary (Liu et al. 2019); the next lesson leaves it out.

# %% pairs from the plays
train_docs = encoded(train_text, tokenizer)  # @over
val_docs = encoded(val_text, tokenizer)  # @over
pairs = Pairs(train_docs, tokenizer, T)  # @over
rng = np.random.default_rng(0)
epoch = pairs.draw(rng, seed=0, epoch=0)  # @over
others = epoch["next_sentence_label"].argmax()  # the first pair that is none
for number in (0, others):  # @skip
    real = epoch["attention_mask"][number] == 1
    reads = epoch["input_ids"][number][real]
    segment = epoch["token_type_ids"][number][real]
    answer = epoch["next_sentence_label"][number]
    for side in (0, 1):
        print(f"segment {side}: {' '.join(tokenizer.tokens(reads[segment == side]))}")
    print(f"label {answer}: B {'does not follow' if answer else 'follows'}\n")
follows = float((epoch["next_sentence_label"] == 0).mean())
print(f"{len(epoch['input_ids']):,} pairs; B follows in {follows:.1%}")

# %% [markdown]
# ## 5. Training
#
# Two blocks, width 48, a loss that is the sum of both tasks; otherwise the loop of lesson 5. What should the loss of
# masked tokens be measured against?
#
# - *uniform*: any token, as likely
# - *unigram*: tokens as frequent as they are in the training text
# - *in sight*: the same guesser, but it also looks at the masked place itself. A fifth of the tokens asked for do not
#   read `[MASK]`, and of these half are right as they stand. No context is needed to use that.

# %% [markdown] predict
# Where is the loss after 1,200 updates of 16 rows, on pairs from plays that it has not seen?
#
# - above unigram
# - between unigram and in sight
# - below in sight
#
# <!-- answer: where -->
#
# A GPT hardly larger passed unigram *and* bigram in a thousand updates (lesson 5). BERT is slower: it has a loss at one
# token in seven, and before context is of any use, attention must have found out where to look. So the loss soon stands
# on a plateau between these lines and hardly moves; who does not draw them may take that for the end.

# %% a small BERT
steps = 1200  # @short 60
held_out = Pairs(val_docs, tokenizer, T)  # @over
test = held_out.draw(np.random.default_rng(1), seed=1, epoch=0)  # @over
test = {name: array[:800] for name, array in test.items()}
counts = np.bincount(flat(train_docs)[0], minlength=V)  # @over
lines = guessers(counts, vocabulary, test["input_ids"], test["labels"])  # @over
config = BERTConfig(V, n_ctx=T, n_layer=2, n_head=4, n_embd=48)
model = BERT(config, seed=0)  # @over
optimizer = AdamW(model.params, model.ops)  # @over
updates, mlm = [], []
per_epoch = len(epoch["input_ids"]) // 16
for step in range(steps):  # @skip
    place = step % per_epoch
    if place == 0:  # new pairs, new masks
        epoch = pairs.draw(rng, seed=0, epoch=step // per_epoch)
        order = rng.permutation(len(epoch["input_ids"]))
    chosen = order[16 * place : 16 * place + 16]
    model.params.grad.fill(0)
    _, cache = model.loss({name: array[chosen] for name, array in epoch.items()})
    model.backward(cache)
    optimizer.step(cosine_schedule(step, 0.003, steps // 10, steps), max_norm=1.0)
    if step == 0 or (step + 1) % (steps // 10) == 0:
        _, cache = model.loss(test)
        updates.append(step + 1)
        mlm.append(float(model.losses(cache)["mlm"]))

where = "below in sight" if mlm[-1] < lines["in sight"] else "above unigram"
if lines["in sight"] <= mlm[-1] < lines["unigram"]:
    where = "between unigram and in sight"
title = "Loss of masked tokens, held out"
print(Curves({"ours": mlm}, updates, lines, title, "updates", "nats per token"))
judged = model.judge(test)  # @over
frequent = test["labels"][test["labels"] != -100] == counts.argmax()
right = float(judged["mlm"][1].mean())
nsp = float(judged["nsp"][1].mean())
print(f"the last: {mlm[-1]:.3f}; masked tokens right: {right:.1%}, and of ", end="")
commonest = tokenizer.vocab[int(counts.argmax())]
print(f"one who always says {commonest!r}: {frequent.mean():.1%}")
print(f"next sentences right: {nsp:.1%}; guessing gives 50%")

# %% [markdown]
# And what does it say? Three gaps, the three likeliest tokens each, with their probabilities.

# %% fill in
for text in ("good [MASK], sir.", "I will [MASK] thee.", "what say [MASK]?"):  # @skip
    asked = pack(tokenizer.encode_array(text, "all"), None, vocabulary, T)[0]
    gap = (asked == vocabulary.mask).argmax()
    logits = model.logits({"input_ids": asked[None]})[0, gap]
    p = np.exp(logits - logits.max())
    p /= p.sum()
    best = [f"{tokenizer.vocab[int(i)]} {p[i]:.2f}" for i in np.argsort(-p)[:3]]
    print(f"{text:<22}", ", ".join(best))

# %% [markdown]
# Frequent tokens, with some taste for the place: so speaks a model on the plateau. `scratchgpt train --model bert`
# trains longer, with the same lines drawn.
#
# ## 6. The same word, two meanings
#
# The promise was a vector for a word *in its sentence*. To see it we need a model beyond the plateau. So here is a
# language in which context is all there is: two topics, and three forms of sentences. `bank` occurs in both topics,
# beside it `vault` for money alone and `shore` for water alone. Whoever is asked for a masked place has to find out the
# topic from the words around it.

# %% a small language
TOPICS = [
    "we they you | keep save borrow owe | money cash gold wages | bank vault",
    "we they you | fish swim row rest | water boats mud trees | bank shore",
]
FORMS = [
    "who verb and verb at the place",
    "who verb thing from the place",
    "the place has thing and thing",
]
words = sorted(set(" ".join([*TOPICS, *FORMS]).split()) - {"|"})
small = WordPieceTokenizer([*tokenizer.special_tokens, *words])  # @over
marks = Vocabulary.of(small)  # @over


def sentence(rng):  # @over
    """(a sentence, its topic)."""
    topic = int(rng.integers(2))
    groups = [group.split() for group in TOPICS[topic].split("|")]
    slots = dict(zip(("who", "verb", "thing", "place"), groups))
    form = FORMS[rng.integers(len(FORMS))].split()
    return " ".join(rng.choice(slots.get(slot, [slot])) for slot in form), topic


rng = np.random.default_rng(0)
sentences, topics = zip(*(sentence(rng) for _ in range(2000)))  # @skip
topics = np.array(topics)
ids_of = map(small.encode_array, sentences)
packed = [pack(ids, None, marks, 16)[0] for ids in ids_of]  # @skip
rows, present = pad_rows(packed, marks.pad)  # @over
for each, topic in zip(sentences[:6], topics):  # @skip
    print(("money", "water")[topic], "|", each)

# %% a BERT for it
passes = 600  # @short 200
shape = {"n_ctx": 16, "n_layer": 3, "n_head": 4, "n_embd": 32, "nsp": False}
reader = BERT(BERTConfig(small.vocab_size, **shape), seed=0)  # @over
optimizer = AdamW(reader.params, reader.ops)  # @over
losses = []
for step in range(passes):  # @skip
    chosen = rng.integers(len(rows), size=32)
    masked = mask_tokens(rows[chosen], marks, rng)
    reader.params.grad.fill(0)
    loss, cache = reader.loss(vars(masked) | {"attention_mask": present[chosen]})
    reader.backward(cache)
    lr = cosine_schedule(step, 0.004, passes // 10, passes)
    optimizer.step(lr, max_norm=1.0)
    losses.append(float(loss))
means = np.reshape(losses, (20, -1)).mean(1)
x = np.arange(1, 21) * passes // 20
title = "Loss of masked tokens in the small language"
print(Curves({"loss": means}, x, title=title, xlabel="updates", ylabel="nats per token"))

# %% [markdown]
# *Static* vectors first, the rows of the embedding table: one for each word, whatever the sentence (lesson 12 makes
# such vectors, and nothing else). `bank` has to lie between its two neighbours.

# %% [markdown] predict
# Now the *contextual* vectors, after the last block. To which is `bank` in a sentence about money more alike (by the
# cosine of the angle)?
#
# - bank, in a sentence about water
# - vault
#
# <!-- answer: "vault" if alike["vault"][-1] > alike["bank by the water"][-1] else "bank, in a sentence about water" -->
#
# To another *word*: the vector has become that of the meaning. Look at how it gets there, block by block.


# %% by layer
def vectors(layer, word, topic):  # @over
    """Vectors of length 1 of a word's places in sentences of a topic."""
    where = rows[:400] == small.encode(word)[0]
    found = layer[where & (topics[:400] == topic)[:, None]]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


MONEY, WATER = 0, 1
table = reader.params["wte"][rows[:400]]  # @over
some = {"input_ids": rows[:400], "attention_mask": present[:400]}
layers = [table, *reader.layers(some)]  # @over
alike = {"bank with money": [], "vault": [], "bank by the water": [], "shore": []}
for layer in layers:  # @skip
    bank = vectors(layer, "bank", MONEY)
    meant = (("bank", MONEY), ("vault", MONEY), ("bank", WATER), ("shore", WATER))
    for name, (word, topic) in zip(alike, meant):
        alike[name].append(float((bank @ vectors(layer, word, topic).T).mean()))

stages = ["table", "+ place", "block 1", "block 2", "block 3"]
title = "Cosine of bank (money) with"
print(Heat(np.array(list(alike.values())), list(alike), stages, title=title))
print(Curves(alike, title=title, xlabel="0: the table, 1: + place, 2 to 4: blocks"))

# %% [markdown]
# In the table `bank` is one vector, and its cosine with itself is 1. Adding positions makes each place a little
# different, whatever the topic; the blocks mix in the other words. In the end `bank` with money is close to `vault`,
# and `bank` by the water has gone the way of `shore`.
#
# Our BERT of the plays is no place to look for this: on its plateau the context is hardly used. In large pretrained
# models the cosine of a word with itself in other sentences falls from block to block (Ethayarajh 2019). To see it in a
# real one: `scratchgpt embed DIR --word bank --text "..." --text "..."` prints these cosines for any BERT in a
# directory, all-MiniLM-L6-v2 for one.

# %% what this page claimed
assert pieces is None
assert abs(shares["[MASK]"] - 12) < 0.2 and abs(sum(shares.values()) - 15) < 1e-9
assert places.tolist() == list(range(8))
assert abs(follows - 0.5) < 0.02
assert mlm[-1] < mlm[0] < lines["uniform"] + 0.5
assert steps < 1200 or (mlm[-1] < lines["unigram"] and nsp > 0.55)
assert means[-1] < means[0] / 2
assert np.isclose(alike["bank with money"][0], 1)
assert np.isclose(alike["bank by the water"][0], 1)
before, after = (alike["bank with money"][n] - alike["bank by the water"][n] for n in (1, -1))
assert abs(before) < 0.1 and after > before
assert alike["vault"][-1] > alike["shore"][-1]
assert passes < 600 or alike["vault"][-1] > alike["bank by the water"][-1]

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start wordpiece`: the longest match, from words to ids.
# - `scratchgpt homework start mlm_batch`: which tokens are chosen, what becomes of them, and the labels.
#
# The next lesson changes the masks: drawn anew each time, or whole spans, on the same model and at equal steps.
