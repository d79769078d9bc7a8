"""What a model says for itself when it is trained: a sample, guesses for masked tokens, blanks filled in,
neighbours."""

import sys

import numpy as np

from scratchgpt.backend import silence_float_warnings, to_host
from scratchgpt.neighbours import show_neighbours
from scratchgpt.objectives import fill_spans, pack
from scratchgpt.progress import print_table
from scratchgpt.sampling import generate, generate_output
from scratchgpt.tokenizers.formats import END_OF_TEXT

GUESSES = 5  # tokens shown for each masked one
SENTENCE = 8, 24  # tokens of a sentence that is shown, at least and at most
WINDOW = 40  # tokens of a text with blanks


def continuation(trainer):
    """A GPT goes on from a line end."""
    print(f"\nThe model is in {trainer.out}. A sample of it:\n")
    prompt = "\n" if trainer.tokenizer.encode("\n") else "."  # WordPiece has no white space
    show_sample(trainer.model, trainer.tokenizer, prompt, max_new_tokens=300, temperature=0.8, quiet=True)


def show_sample(model, tokenizer, prompt, quiet=False, **settings):
    """Prints the prompt and what follows it as it is drawn, whole characters at a time; says so (unless quiet) on
    stderr when the context is full."""

    def on_slide():
        sys.stdout.flush()
        print(f"\nscratchgpt: the context of {model.config.n_ctx} tokens is full; the window slides from here",
              file=sys.stderr, flush=True)  # fmt: skip

    ids = generate(model, tokenizer.encode(prompt), on_slide=None if quiet else on_slide, **settings)
    print(prompt, end="", flush=True)
    with silence_float_warnings(model.xp):  # a diverged model is sampled all the same
        for text in tokenizer.decode_stream(until(ids, tokenizer.special_tokens.get(END_OF_TEXT))):
            print(text, end="", flush=True)
    print(flush=True)


def until(ids, last):
    """The ids up to `last`, which is left out: a model that has an end-of-text token says with it that it is done."""
    for token in ids:
        if token == last:
            return
        yield token


def guesses(trainer):
    """A BERT's likeliest tokens for two masked ones of a sentence of the validation text."""
    model, tokenizer, rows = trainer.model, trainer.tokenizer, trainer.data.held_out.rows
    ids, lengths, _ = trainer.data.texts[1]
    sentences = np.split(ids, lengths.cumsum()[:-1])
    least, most = SENTENCE[0], min(SENTENCE[1], model.config.n_ctx - 2)
    sentence = next((each for each in sentences if least <= len(each) <= most), sentences[0][:most])
    places = sorted({len(sentence) // 3, 2 * len(sentence) // 3})
    row, _ = pack(sentence, None, rows.vocabulary, model.config.n_ctx)
    row[[1 + place for place in places]] = rows.vocabulary.need("mask")
    with silence_float_warnings(model.xp):
        logits = to_host(model.logits({"input_ids": row[None]}))[0, [1 + place for place in places]]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
    table = []
    for place, likely in zip(places, p):
        best = likely.argsort()[::-1][:GUESSES]
        table.append(
            (named(tokenizer, sentence[place]), *(f"{named(tokenizer, each)} {likely[each]:.0%}" for each in best))
        )
    print(f"\nThe model is in {trainer.out}. A sentence of the validation text:\n\n{tokenizer.decode(row[1:-1])}\n")
    print_table(
        "what was masked, and what it takes for likeliest there", table, ("masked", *map(str, range(1, GUESSES + 1)))
    )


def named(tokenizer, token):
    return tokenizer.decode([int(token)]).strip() or repr(tokenizer.decode([int(token)]))


def filled_in(trainer):
    """A T5 fills in the blanks of a piece of the validation text, or goes on from its beginning."""
    model, tokenizer, data = trainer.model, trainer.tokenizer, trainer.data
    row = data.val_ids[: min(WINDOW, data.corruption.width)]
    batch = data.corruption(row[None], np.random.Generator(np.random.PCG64(1)))
    inputs, targets = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    settings = {"max_new_tokens": min(2 * len(targets), model.config.n_ctx), "temperature": 0.0}
    with silence_float_warnings(model.xp):
        output = list(generate_output(model, inputs, **settings))
    inputs, targets = inputs[:-1], targets[:-1]  # without their ends
    print(f"\nThe model is in {trainer.out}. A piece of the validation text, as the encoder reads it:\n")
    if data.corruption.sentinels is None:
        shown = (inputs, output, targets)
    else:
        sentinels = data.corruption.sentinels.tolist()
        shown = (inputs, fill_spans(inputs, output, sentinels), fill_spans(inputs, targets, sentinels))
    for title, ids in zip(("", "\nwhat the model says:\n", "\nwhat was there:\n"), shown):
        print(title + tokenizer.decode(ids).strip())


def neighbours(trainer):
    """A word2vec's nearest words of some words."""
    print(f"\nThe model is in {trainer.out}. Some of its words and what is nearest to them:\n")
    show_neighbours(trainer.model, trainer.tokenizer)
