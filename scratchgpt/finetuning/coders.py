"""Examples to batches, and what a head says back to predictions: a coder for each task.

rows(examples)                      what is run: a Row for each example, for a long context or sentence several
batch(rows)                         rows as model.logits takes them (input_ids, attention_mask, ...)
training_batch(rows)                as model.loss takes them: with labels
predictions(examples, rows, said)   from what model.logits says of each row, a Prediction for each example
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.finetuning.inputs import Inputs
from scratchgpt.models import IGNORED
from scratchgpt.models.heads import best_spans
from scratchgpt.objectives import pad_rows
from scratchgpt.tasks import PairExample, check_labels


@dataclass(frozen=True)
class Settings:
    """What a coder must know besides the head's configuration; kept beside the model, in finetune.json."""

    truncate: bool = False  # cut texts that are longer than the model's positions
    both_orders: bool = False  # of a pair's texts: neither comes first by nature (GPT alone)
    no_answer: bool = False  # a question may have none
    longest: int = 30  # tokens of an answer, at most


class Row(NamedTuple):
    """A row of a batch: the number of its example, its one or several Inputs, what is to be learned (None: it is not
    known), and where in the row the words (tag) or the context's tokens (span) are."""

    example: int
    inputs: tuple
    target: Any
    places: Any = None


class Prediction(NamedTuple):
    """What a model says of an example, as `tasks.score` takes it, and how sure it is (see the coders)."""

    value: Any
    score: Any


class Coder:
    """What the tasks share. config: a HeadConfig; settings: Settings."""

    stacked = False  # a row is several inputs, (B, R, T)

    def __init__(self, config, tokenizer, settings):
        self.config, self.settings = config, settings
        self.inputs = Inputs(config.backbone, tokenizer, settings.truncate)
        self.numbers = {label: number for number, label in enumerate(config.labels)}

    def rows(self, examples):
        """[Row] of examples. Raises InputError, naming the example, for one that does not fit the model."""
        return [row for number, example in enumerate(examples) for row in self.encode(number, example)]

    def batch(self, rows):
        """{"input_ids", "attention_mask", ...} of rows that have as many inputs each."""
        each = [one for row in rows for one in row.inputs]
        ids, mask = pad_rows([one.ids for one in each], self.inputs.pad)
        shape = (len(rows), -1, ids.shape[1]) if self.stacked else ids.shape
        batch = {"input_ids": ids.reshape(shape), "attention_mask": mask.reshape(shape)}
        if each[0].segments is not None:
            batch["token_type_ids"] = pad_rows([one.segments for one in each], 0, ids.shape[1])[0].reshape(shape)
        return batch

    def training_batch(self, rows):
        """A batch of rows whose targets are known, with them."""
        batch = self.batch(rows)
        return batch | self.targets(rows, batch["input_ids"].shape[-1])

    def targets(self, rows, T):
        return {"labels": np.array([row.target for row in rows])}

    def predictions(self, examples, rows, said):
        return [self.read(logits) for logits in said]


class SentenceCoder(Coder):
    """A sentence or a pair. The score of a label is its probability; of several, {label: probability}; of a number
    there is none."""

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.stacked = settings.both_orders

    def encode(self, number, example):
        parts = (example.first, example.second) if isinstance(example, PairExample) else (example.text,)
        texts = [self.inputs.ids(part, example.where) for part in parts]
        orders = [texts, texts[::-1]] if self.stacked else [texts]
        inputs = tuple(self.inputs.lay_out(order, example.where) for order in orders)
        return [Row(number, inputs, None if example.label is None else self.target(example))]

    def target(self, example):
        if self.config.problem == "regression":
            return example.label
        check_labels([example], self.numbers)
        if self.config.problem == "multi":
            return [label in example.label for label in self.config.labels]
        return self.numbers[example.label]

    def read(self, logits):
        labels = self.config.labels
        if self.config.problem == "regression":
            return Prediction(float(logits[0]), None)
        if self.config.problem == "multi":
            chances = 1 / (1 + np.exp(-logits.astype(float)))
            named = dict(zip(labels, chances.tolist()))
            return Prediction(tuple(label for label, chance in named.items() if chance > 0.5), named)
        best, chance = likeliest(logits)
        return Prediction(labels[best], chance)


class ChoiceCoder(Coder):
    """One of several ways to go on. The score is the probability of the one that is predicted."""

    stacked = True

    def encode(self, number, example):
        context = self.inputs.ids(example.context, example.where)
        choices = [self.inputs.ids(choice, example.where) for choice in example.choices]
        return [Row(number, tuple(self.inputs.lay_out([context, choice], example.where) for choice in choices),
                    example.label)]  # fmt: skip

    def read(self, logits):
        return Prediction(*likeliest(logits))


class TagCoder(Coder):
    """A tag for each word, read off its first piece. A sentence longer than the model's positions is read in windows,
    and each of its words in the window where it has most around it. The score is the probability of each tag."""

    def encode(self, number, example):
        ids, firsts = [], []
        for word in example.tokens:
            firsts.append(len(ids))
            ids += self.pieces(word, first=not ids)
        firsts = np.array(firsts)
        check_labels([example], self.numbers)
        windows = self.inputs.windows(len(ids), [], example.where)
        middles = np.array([start + end for start, end in windows]) / 2
        owner = np.abs(firsts[:, None] - middles).argmin(1)  # of each word, its window
        for window, (start, end) in enumerate(windows):
            words = np.flatnonzero(owner == window)
            places = {int(word): 1 + int(firsts[word]) - start for word in words}  # 1: [CLS] or Start
            target = example.tags and {place: self.numbers[example.tags[word]] for word, place in places.items()}
            yield Row(number, (self.inputs.lay_out([ids[start:end]], example.where),), target, places)

    def pieces(self, word, first):
        """The ids of a word as it stands in a text, with a space before it unless it is the first; of one that the
        tokenizer drops, what stands for unknown characters."""
        found = self.inputs.tokenizer.encode(word if first else f" {word}")
        return found or [self.inputs.tokenizer.special_tokens["[UNK]"]]

    def targets(self, rows, T):
        labels = np.full((len(rows), T), IGNORED)
        for n, row in enumerate(rows):
            labels[n, list(row.target)] = list(row.target.values())
        return {"labels": labels}

    def predictions(self, examples, rows, said):
        tags = [[None] * len(example.tokens) for example in examples]
        scores = [[None] * len(example.tokens) for example in examples]
        for row, logits in zip(rows, said):
            for word, place in row.places.items():
                best, scores[row.example][word] = likeliest(logits[place])
                tags[row.example][word] = self.config.labels[best]
        return [Prediction(tuple(each), score) for each, score in zip(tags, scores)]


class SpanCoder(Coder):
    """Where in the context the answer to a question is. A long context is read in overlapping windows; one without the
    (whole) answer has to point at its first token, or a GPT, whose first token sees nothing, at its last. The score is
    that of the best span less that of no answer; where the training examples include questions without an answer, a
    score below 0 is one."""

    def encode(self, number, example):
        question = self.inputs.ids(example.question, example.where)
        self.inputs.ids(example.context, example.where)
        ids, offsets = self.inputs.tokenizer.encode_with_offsets(example.context)
        answer = None if example.answers is None else self.answer_tokens(example, offsets)
        for start, end in self.inputs.windows(len(ids), [len(question)], example.where):
            one = self.inputs.lay_out([question, ids[start:end]], example.where)
            first = len(one.ids) - 1 - (end - start)  # where in the row the window begins
            none = len(one.ids) - 1 if self.inputs.on_gpt else 0
            target = None
            if answer is not None:
                inside = answer and start <= answer[0] and answer[1] < end
                target = (answer[0] - start + first, answer[1] - start + first) if inside else (none, none)
            yield Row(number, (one,), target, (first, none, offsets[start:end]))

    def answer_tokens(self, example, offsets):
        """(first, last) token of an example's first answer; () where it has none."""
        if not example.answers:
            return ()
        start, text = example.answers[0]
        touched = [n for n, (a, b) in enumerate(offsets) if a < start + len(text) and b > start and a < b]
        if not touched:
            raise InputError(f"{example.where}: the answer {text[:30]!r} has no tokens of its own")
        return touched[0], touched[-1]

    def targets(self, rows, T):
        context = np.zeros((len(rows), T), int)
        for n, row in enumerate(rows):
            first, none, offsets = row.places
            context[n, first : first + len(offsets)] = [start < end for start, end in offsets]
            context[n, none] = 1
        starts, ends = np.array([row.target for row in rows]).T
        return {"start_positions": starts, "end_positions": ends, "context_mask": context}

    def predictions(self, examples, rows, said):
        best = [Prediction("", -np.inf)] * len(examples)
        nothing = [np.inf] * len(examples)  # the lowest score of no answer in any of the windows
        for row, (starts, ends) in zip(rows, said):
            first, none, offsets = row.places
            inside = slice(first, first + len(offsets))
            nothing[row.example] = min(nothing[row.example], float(starts[none] + ends[none]))
            words = [start < end for start, end in offsets]
            if any(words):
                a, b, score = best_spans(starts[None, inside], ends[None, inside], [words], self.settings.longest)
                if score[0] > best[row.example].score:
                    text = examples[row.example].context[offsets[a[0]][0] : offsets[b[0]][1]]
                    best[row.example] = Prediction(text, float(score[0]))
        return [
            Prediction("" if self.settings.no_answer and each.score < none else each.value, each.score - none)
            for each, none in zip(best, nothing)
        ]


CODERS = {"sentence": SentenceCoder, "choice": ChoiceCoder, "tag": TagCoder, "span": SpanCoder}


def likeliest(logits):
    """(number, probability) of the largest of logits (n,)."""
    logits = logits.astype(float)
    best = int(logits.argmax())
    return best, float(1 / np.exp(logits - logits[best]).sum())
