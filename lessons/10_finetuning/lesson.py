# %% [markdown]
# # Finetuning: one checkpoint, four heads
#
# *About 20 minutes. You need lesson 7 (BERT and its masks), and for the last two sections lesson 5 (a GPT).*
#
# Labels are dear and text is cheap. So a model is trained first on text without labels, and what it has learned is the
# starting point for tasks that have few (Radford et al. 2018; Devlin et al. 2019). What a task adds is small: a *head*,
# one linear map. Here one small BERT is pretrained and then given four heads. Then GPT-1's way: no new layers to speak
# of, but inputs that are laid out as text, and a loss that keeps a part of the old one.
#
# ## 1. Text without labels
#
# The text is *synthetic*, so that a page can train on it: sentences about persons, companies and places whose names are
# made of syllables. Any name may be anything; only the words around it tell. Nothing here says how a real model does on
# real text; `scratchgpt finetune` is for that.

# %% sentences, and a vocabulary
from dataclasses import replace

import numpy as np

from scratchgpt import GPT, AdamW, BPETokenizer, GPTConfig
from scratchgpt.data import entropy_lines
from scratchgpt.finetuning import FinetuneConfig, finetune, fresh
from scratchgpt.lesson import Bars, Curves, Heat
from scratchgpt.models.bert import BERT, BERTConfig
from scratchgpt.models.heads import put_head
from scratchgpt.objectives import (
    Marks,
    Vocabulary,
    classification,
    entailment,
    mask_tokens,
    multiple_choice,
    pack,
    pad_rows,
    similarity,
)
from scratchgpt.optim import cosine_schedule
from scratchgpt.tasks import ChoiceExample, SentenceExample, SpanExample, split
from scratchgpt.tasks.synthetic import tags
from scratchgpt.tokenizers import WordPieceTokenizer

examples = [example for example in tags(8000) if "then" not in example.tokens]  # @over
texts = [" ".join(example.tokens) for example in examples]  # @over
tokenizer = WordPieceTokenizer.train("\n".join(texts), vocab_size=500)  # @over
vocabulary = Vocabulary.of(tokenizer)  # @over
rows = [pack(tokenizer.encode(text), None, vocabulary, 48)[0] for text in texts]  # @over
for text in texts[:4]:
    print(text)
print(" ".join(tokenizer.tokens(rows[0])))  # @over

# %% [markdown]
# ## 2. Pretrain
#
# Masked tokens, as in lesson 7: 15% of each row, 80/10/10. A batch is 64 rows. The dashed line is what one scores who
# knows how often each token occurs, and nothing else.

# %% a small BERT
shape = BERTConfig(vocab_size=500, n_ctx=64, n_layer=2, n_head=2, n_embd=64, nsp=False, pad_id=vocabulary.pad)
bert = BERT(shape, seed=0)  # @over
stream = np.concatenate([row[1:-1] for row in rows])  # @over
lines = {"unigram": entropy_lines(stream, 500)["unigram"]}  # @over
optimizer = AdamW(bert.params, bert.ops)  # @over
rng = np.random.default_rng(0)
steps = 800  # @short 30
losses = []
for step in range(steps):  # @skip
    ids, present = pad_rows([rows[i] for i in rng.integers(len(rows), size=64)], vocabulary.pad)
    masked = mask_tokens(ids, vocabulary, rng)
    bert.params.grad.fill(0)
    loss, cache = bert.loss({"input_ids": masked.input_ids, "labels": masked.labels, "attention_mask": present})
    bert.backward(cache)
    optimizer.step(cosine_schedule(step, 0.005, steps // 20, steps), max_norm=1.0)
    losses.append(float(loss))
every = max(1, steps // 30)
curve = [float(np.mean(losses[at : at + every])) for at in range(0, steps, every)]  # @over
title = "Masked tokens, nats per token"
print(Curves({"training": curve}, x=list(range(0, steps, every)), lines=lines, title=title, xlabel="updates"))

# %% [markdown]
# ## 3. Four heads
#
# A head is one linear map from the vectors of the last block, C = 64 wide, to what a task asks for (Devlin et al. 2019,
# figure 4):
#
# | task | reads | says |
# |---|---|---|
# | sentence | the first token's vector, through the pooler | K classes |
# | tag | each word's vector | K classes each |
# | span | each vector of the text | a start score and an end score |
# | choice | the first token's vector, for each choice | one score, compared between the choices |
#
# The same sentences make a task of each kind. *Sentence*: what is named first, a person, an organisation or a
# place? *Tag*: what is each word? *Span*: where is the person (or the company, or the place)? *Choice*: which of four
# second halves goes on from the first?

# %% the tasks, from the same sentences
NAMES = {"PER": "the person", "ORG": "the company", "LOC": "the place"}
draw = np.random.default_rng(1)


def origin(example):  # @over
    return {"id": example.id, "group": example.group, "where": example.where}


def sentence_task(example):  # @over
    """What is named first."""
    first = next(tag for tag in example.tags if tag != "O")
    return SentenceExample(" ".join(example.tokens), first[2:], **origin(example))


def span_task(example):  # @over
    """The first entity of a kind that is there."""
    kinds = sorted({tag[2:] for tag in example.tags if tag != "O"})
    kind = kinds[draw.integers(len(kinds))]
    first = example.tags.index(f"B-{kind}")
    last = first + 1
    while last < len(example.tags) and example.tags[last] == f"I-{kind}":
        last += 1
    before = " ".join([*example.tokens[:first], ""])  # the character at which the answer begins
    answer = (len(before), " ".join(example.tokens[first:last]))
    return SpanExample(NAMES[kind], " ".join(example.tokens), (answer,), **origin(example))


def second_half(example):  # @over
    return " ".join(example.tokens[len(example.tokens) // 2 :])


def choice_task(example):  # @over
    """Its own second half among three of others."""
    choices = [second_half(examples[i]) for i in draw.integers(len(examples), size=3)]
    place = int(draw.integers(4))
    choices.insert(place, second_half(example))
    context = " ".join(example.tokens[: len(example.tokens) // 2])
    return ChoiceExample(context, tuple(choices), place, **origin(example))


makers = {"sentence": sentence_task, "tag": lambda example: example, "span": span_task, "choice": choice_task}
data = {}
for task, make in makers.items():  # @skip
    data[task] = split([make(example) for example in examples], share=0.2)
for task in ("sentence", "span", "choice"):
    print(task, data[task][0][0])
print("tag", list(zip(data["tag"][0][0].tokens, data["tag"][0][0].tags)))

# %% [markdown]
# The split keeps names apart: none that is asked about in validation was named in training. (The text of pretraining
# had all of them. That is allowed, and part of the point: text without labels is there for everything.)

# %% [markdown] predict
# The backbone has about 140,000 parameters. How many does the head for tags add, with its seven tags (O, and B and I of
# three kinds)?
#
# - 7
# - 455
# - 28,672
#
# <!-- answer: f"{added['tag']:,}" -->
#
# 7 · 64 weights and 7 biases. So all that the tasks share is in the backbone, and a task is a few rows of numbers: one
# checkpoint, many tasks. (The sentence and choice heads count the pooler as theirs here: this BERT was pretrained
# without next sentences, so its pooler is new.)

# %% put them on
labels = {"sentence": ("LOC", "ORG", "PER"), "tag": ("O", "B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER")}
headed, added = {}, {}
for task in makers:
    headed[task] = put_head(bert, task, labels.get(task, ()))  # @over
    after, before_it = headed[task].params, bert.params
    added[task] = sum(after[name].size for name in after.names if name not in before_it.spec)
    same = all((after[name] == before_it[name]).all() for name in after.names if name in before_it.spec)
    print(f"{task:<10}{added[task]:>6,} new parameters; the others are the checkpoint's: {same}")

# %% [markdown]
# ### Where a head looks
#
# The gradient says it. One row of eight tokens through each head, and its loss back to the vectors of the last block:
# below is each token's share of the lengths of d loss / d vector.

# %% [markdown] predict
# At how many of the eight positions does the *sentence* head's loss have a gradient in the last block's vectors?
#
# - 1
# - 6, the words
# - 8
#
# <!-- answer: len(np.flatnonzero(reach[0])) -->
#
# It reads the first token alone, [CLS]. The other tokens matter all the same, because attention has brought them there
# before. During pretraining nothing had a reason to: [CLS] is never masked. Finetuning has to teach it.

# %% the gradient of each head
row = np.array([[*rows[0][:7].tolist(), vocabulary.sep]])
batches = {
    "sentence": {"input_ids": row, "labels": np.array([2])},
    "tag": {"input_ids": row, "labels": np.array([[-100, 3, -100, 0, 0, 0, -100, -100]])},
    "span": {"input_ids": row, "start_positions": np.array([1]), "end_positions": np.array([2])},
    "choice": {"input_ids": np.stack([row, row[:, ::-1]], 1), "labels": np.array([0])},
}
reach, starts = [], {}
for task, batch in batches.items():
    model = headed[task]
    loss, cache = model.loss(batch)  # @over
    starts[task] = float(loss)
    dx = np.zeros(cache[4], "float32")
    dlogits = model.task_loss_backward(1.0, cache[2])  # @over
    model.logits_backward(dx, dlogits, cache[1], model.params.g)  # @over
    reach.append(np.sqrt((dx[0] ** 2).sum(-1)))
reach = 100 * np.array(reach) / np.sum(reach, 1, keepdims=True)
print(Heat(reach, list(batches), tokenizer.tokens(row[0]), title="Each position's share of |d loss / d vector|, %"))
print({task: round(value, 3) for task, value in starts.items()})

# %% [markdown]
# The last line is a check that costs nothing: a new head knows nothing, so its loss must be near ln K, with K the
# number of classes: ln 3, ln 7, ln 8 positions and ln 2 choices. A loss far above it is a head that was drawn too
# large, or labels that do not mean what the model thinks.
#
# ## 4. From the checkpoint, and from scratch
#
# 400 labelled examples for each task, eight epochs, the best one by the validation metric is kept. Once from the
# checkpoint, and once from new weights of the same shape: same data, same order, same updates.

# %% [markdown] predict
# Of the four tasks, on how many does the checkpoint do better than new weights?
#
# - on none: 400 examples say it all
# - on some
# - on all four
#
# <!-- answer: ["on none: 400 examples say it all", "on some", "on all four"][(wins > 0) + (wins == 4)] -->
#
# See which ones. Spans and choices ask how the parts of a sentence go together, and that is what masked tokens teach.
# What is named first, a few words say, and 400 labels are enough for them. Tags have a label on every word, thousands
# in all: there the labels themselves are the text to learn from. So "pretraining helps" is a statement about a task and
# about how many labels it has, to be measured for each. 200 validation examples leave some points of doubt to each bar.

# %% finetune eight times
n_labelled = 400  # @short 32
n_checked = 200  # @short 40
epochs = 8  # @short 4
config = FinetuneConfig(epochs=epochs, patience=8, lr=0.002)
measured, bars, results = {}, {}, {}
for task in makers:  # @skip
    train, validation = data[task]
    for start, model in (("checkpoint", bert), ("scratch", fresh(bert, 1))):
        results[task, start] = finetune(model, tokenizer, train[:n_labelled], validation[:n_checked], task, config)
        measured[task, start] = results[task, start].metric
        bars[f"{task}, {start}"] = 100 * measured[task, start]
names = {task: next(iter(results[task, "checkpoint"].metrics)) for task in makers}
wins = sum(measured[task, "checkpoint"] > measured[task, "scratch"] for task in makers)
print(names)
print(Bars(bars, title="The task's metric on names that training never saw", unit="%"))
guess = results["choice", "checkpoint"].majority
print("choice, without a model:", guess)

# %% what it says
sample = data["tag"][1][2]
said = results["tag", "checkpoint"].predictions[2].value
for word, gold, tag in zip(sample.tokens, sample.tags, said):  # @skip
    print(f"{word:<12}{gold:<8}{tag:<8}{'' if gold == tag else 'wrong'}")

# %% [markdown]
# ## 5. GPT-1's input formats
#
# Radford et al. (2018, section 3.3) changed the *input* where others built a layer for every task: three new tokens,
# Start, Delim and Extract, and everything is a row of text. The head reads the vector at Extract, the last token, which
# is the only one that has seen all the others.

# %% every task as rows
marks = Marks(size=100, start=97, delim=98, extract=99)
text, other = [11, 12, 13], [21, 22]
shown = {"classification": classification([text], marks)}
shown["entailment"] = entailment([text], [other], marks)
shown["similarity"] = similarity([text], [other], marks)
shown["multiple choice"] = multiple_choice([text], [[[31], [32, 33], [34]]], marks)
signs = {97: "Start", 98: "Delim", 99: "Extract"}
for name, sequences in shown.items():
    for ids, present in zip(sequences.input_ids[0], sequences.attention_mask[0]):
        words = [signs.get(int(i), str(i)) for i in ids[present == 1]]
        print(f"{name:<16}", " ".join(words))

# %% [markdown]
# Similarity has no first and second text, so both orders are read and their vectors added. Each answer of a choice is a
# row of its own, and the scores are compared.
#
# ## 6. λ: a part of the old loss
#
# Their loss is the task's plus λ times the language model's on the same rows (equation 5). They chose λ = 0.5 and found
# that it helps larger sets. A small GPT is pretrained on our sentences, then finetuned on *sentence* twice: with λ = 0
# and with λ = 0.5.

# %% a small GPT
bpe = BPETokenizer.train("\n".join(texts), vocab_size=500)  # @over
lines_of_ids = [bpe.encode(text + "\n") for text in texts]  # @over
gpt = GPT(GPTConfig(vocab_size=500, n_ctx=96, n_layer=2, n_head=2, n_embd=64), seed=0)  # @over
optimizer = AdamW(gpt.params, gpt.ops)  # @over
gpt_steps = 200  # @short 100
held_out = lines_of_ids[-200:]
for step in range(gpt_steps):  # @skip
    ids, present = pad_rows([lines_of_ids[i] for i in rng.integers(len(texts) - 200, size=48)], 0)
    gpt.params.grad.fill(0)
    _, cache = gpt.loss({"input_ids": ids, "attention_mask": present})
    gpt.backward(cache)
    optimizer.step(cosine_schedule(step, 0.005, gpt_steps // 20, gpt_steps), max_norm=1.0)


def language_loss(model):  # @over
    """Nats per token of 200 sentences that no training saw."""
    ids, present = pad_rows(held_out, 0)
    return float(model.loss({"input_ids": ids, "attention_mask": present})[0])


print(f"as a language model: {language_loss(gpt):.3f} nats per token")

# %% [markdown] predict
# Finetuned with λ = 0, nothing asks the model to predict a next token any more. Its loss as a language model, on text
# that it never saw, will be
#
# - as before: only the head is trained
# - worse, but less than a tenth of a nat
# - worse, by more than that
#
# <!-- answer: ("worse, but less than a tenth of a nat", "worse, by more than that")[loss_of[0.0] - before > 0.1] -->
#
# All weights move, not the head alone, and what nobody asks for any more is given up: *forgetting*. With λ = 0.5 it is
# asked for all the time. Whether that also helps the task is another question: the two accuracies differ by little.

# %% λ = 0 and λ = 0.5
before = language_loss(gpt)
loss_of, accuracy = {}, {}
train, validation = data["sentence"]
for weight in (0.0, 0.5):  # @skip
    weighted = replace(config, lm_weight=weight)
    result = finetune(gpt, bpe, train[:n_labelled], validation[:n_checked], "sentence", weighted)
    accuracy[f"λ = {weight}"] = 100 * result.metric
    loss_of[weight] = language_loss(result.model.backbone)
shown = {"before": before, "λ = 0": loss_of[0.0], "λ = 0.5": loss_of[0.5]}
print(Bars(shown, title="Loss as a language model", unit="nats per token"))
print(Bars(accuracy, title="Accuracy on the task", unit="%"))

# %% what this page claimed
assert added == {"sentence": 4355, "tag": 455, "span": 130, "choice": 4225}
assert np.flatnonzero(reach[0]).tolist() == np.flatnonzero(reach[3]).tolist() == [0]
assert np.flatnonzero(reach[1]).tolist() == [1, 3, 4, 5]
assert (reach[2] > 0).all()
for task, classes in {"sentence": 3, "tag": 7, "span": 8, "choice": 2}.items():  # @skip
    assert abs(starts[task] - np.log(classes)) < 0.3
assert loss_of[0.0] > loss_of[0.5]

# %% [markdown]
# ## Your turn
#
# - `scratchgpt homework start span_decoding`: from start and end scores to the best span that begins before it ends.
# - `scratchgpt homework start mlm_batch`: the batches that made the checkpoint.
#
# On real data: `scratchgpt train --model bert`, then `scratchgpt finetune runs/addresses-bert --task sentence --data
# sentiment --truncate`, and the same again with `--from-scratch`.
