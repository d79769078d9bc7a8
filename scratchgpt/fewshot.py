"""`scratchgpt fewshot`: a task put to a GPT in its context, without a step of training (Brown et al. 2020, section 2).

A prompt shows examples of the task with their answers, the demonstrations, and then the example that is asked about.
What the model finds likeliest to come next, of the answers there are, is its prediction:

    Text: no more wasted time and money      |
    Label: positive                          |  one shot
                                             |
    Text: it broke after a week              |  the example
    Label:                                   |  " negative" or " positive"?
"""

from typing import NamedTuple

import numpy as np

from scratchgpt import interop
from scratchgpt.backend import to_host
from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.evaluation import TOKENS_AT_ONCE, over_batches
from scratchgpt.models.gpt import GPT
from scratchgpt.objectives.rows import pad_rows
from scratchgpt.progress import print_table
from scratchgpt.tasks import check_labels, gold, label_names, read, split, task_of

TASKS = ("sentence", "pair", "choice")
SHOWN = 60  # characters of an answer in a table
NORMALIZED = {  # Brown et al. 2020, section 2.4 -> what the table calls it
    "none": "log-likelihood of each answer, the sum over its tokens",
    "tokens": "log-likelihood of each answer, per token",
    "unconditional": "log-likelihood of each answer over that without the example, the sum over its tokens",
}


def add_arguments(parser):
    parser.add_argument("directory", metavar="DIR", help="a run's directory, or a Hugging Face GPT-2, Llama, ...")
    parser.add_argument("--task", required=True, metavar="FILE", help="labelled sentences, pairs or choices: a file, "
                        "or sentiment, next-sentence, next-sentence-choice")  # fmt: skip
    parser.add_argument("--shots", default="0,1,4", metavar="K,K,...", help="how many demonstrations (default: 0,1,4)")
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="ask about N examples of the validation "
                        "part at most, drawn by the seed (default: 200)")  # fmt: skip
    parser.add_argument("--truncate", action="store_true", help="cut the beginning of an example that does not fit the "
                        "model's context, even without demonstrations")  # fmt: skip
    parser.add_argument("--normalize", choices=tuple(NORMALIZED), default="none", help="before answers are compared: "
                        "none, the likelihood as it is; tokens, per token, so that a long answer stands a chance; "
                        "unconditional, over that of the answer alone, so that a common one has no advantage (default: "
                        "none)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="fixes what is drawn (default: 0)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")


def main(args):
    shots = read_shots(args.shots)
    for name, least in (("examples", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} is {getattr(args, name)}; expected {least} or more")
    task = task_of(args.task)
    if task not in TASKS:
        raise InputError(f"{args.task} is for the task {task}; expected one of {', '.join(TASKS)}, whose answers can "
                         "be listed")  # fmt: skip
    train, asked = split(read(args.task, task), seed=args.seed)
    check_labels(asked, label_names(train))
    asked = drawn(asked, args.examples, np.random.default_rng(args.seed))
    model, tokenizer = load_gpt(args.directory, args.device)
    prompter = Prompter(tokenizer, train, model.config.n_ctx, args.seed, args.truncate)
    prompts = {count: [prompter.prompt(example, number, count) for number, example in enumerate(asked)]
               for count in shots}  # fmt: skip
    results = {count: answer(model, prompts[count], args.normalize) for count in shots}
    show_prompt(prompter, asked[0], results[shots[-1]], NORMALIZED[args.normalize])
    show_results(args.task, train, asked, results)


def read_shots(text):
    """[0, 1, 4] of "0,1,4"."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and len(word) < 10 for word in words):
        raise InputError(f"--shots is {text!r}; expected numbers of demonstrations with commas between, such as 0,1,4")
    return sorted({int(word) for word in words})


def load_gpt(directory, device="cpu"):
    """(GPT, tokenizer) of a directory. Raises InputError when another family of models is there."""
    model = interop.load(directory, device=device)
    if not isinstance(model, GPT):
        raise InputError(f"{directory} holds a {type(model).__name__}; expected a GPT or a Llama, which predict the "
                         "next token (scratchgpt finetune trains a BERT for a task)")  # fmt: skip
    return model, interop.load_tokenizer(directory)


def drawn(examples, most, rng):
    """At most so many of the examples, in their order."""
    places = sorted(rng.permutation(len(examples))[:most])
    return [examples[place] for place in places]


# ---- prompts

LABEL = "Label:"


class Prompt(NamedTuple):
    """What is put to a model: a text, its ids (what the model reads of it), the ids of each answer that may follow
    and of what an answer follows without the example, the number of demonstrations, and whether the beginning was cut.
    """

    text: str
    ids: list
    answers: list
    alone: list
    shots: int
    cut: bool = False


def wording(example, labels):
    """(what is asked, the answers there are) of an example; `labels`: the names of the task's, where it has some."""
    if hasattr(example, "choices"):
        return example.context, [f" {choice}" for choice in example.choices]
    if hasattr(example, "first"):
        asked = f"First: {example.first}\nSecond: {example.second}\n{LABEL}"
    else:
        asked = f"Text: {example.text}\n{LABEL}"
    return asked, [f" {label}" for label in labels]


class Prompter:
    """Makes prompts, with demonstrations drawn from the training examples: for each example others, by (seed, number);
    those of a prompt with fewer shots are the last ones of a prompt with more."""

    def __init__(self, tokenizer, train, n_ctx, seed=0, truncate=False):
        self.tokenizer, self.train, self.n_ctx, self.seed, self.truncate = tokenizer, train, n_ctx, seed, truncate
        self.labels = label_names(train)

    def place(self, example):
        """The number of the right answer."""
        return gold(example) if hasattr(example, "choices") else self.labels.index(gold(example))

    def demonstrations(self, number, shots):
        """[text], for the example of that number, each with its right answer."""
        if shots > len(self.train):
            raise InputError(f"{shots} shots; there are only {len(self.train)} training examples to draw them from")
        order = np.random.default_rng((self.seed, number)).permutation(len(self.train))[:shots]
        texts = []
        for example in (self.train[place] for place in reversed(order)):
            asked, answers = wording(example, self.labels)
            texts.append(f"{asked}{answers[self.place(example)]}\n\n")
        return texts

    def prompt(self, example, number, shots):
        """The Prompt of an example, with as many shots, or as fit the model's context with every answer.

        Raises InputError when none fits and the example alone is too long, unless it may be cut at its beginning.
        """
        asked, answers = wording(example, self.labels)
        answers = [self.tokenizer.encode(answer) for answer in answers]
        if not all(answers):
            raise InputError(f"{example.where}: an answer has no tokens; nothing can be said of its likelihood")
        alone = self.tokenizer.encode("\n" if hasattr(example, "choices") else LABEL)
        room = self.n_ctx + 1 - max(map(len, answers))  # the last token of an answer is not read
        texts = self.demonstrations(number, shots)
        for first in range(shots + 1):
            text = "".join(texts[first:]) + asked
            ids = self.tokenizer.encode(text)
            if len(ids) <= room:
                return Prompt(text, ids, answers, alone, shots - first)
        if room < 1:
            raise InputError(f"{example.where}: an answer takes {self.n_ctx + 1 - room} tokens; the model's context "
                             f"has {self.n_ctx}: take a model with a longer one")  # fmt: skip
        if not self.truncate:
            raise InputError(f"{example.where}: the example takes {len(ids) + self.n_ctx + 1 - room} tokens with its "
                             f"longest answer; the model's context has {self.n_ctx}: give --truncate to cut its "
                             "beginning, or take a model with a longer one")  # fmt: skip
        return Prompt(self.tokenizer.decode(ids[-room:]), ids[-room:], answers, alone, 0, cut=True)


# ---- answers


class Answers(NamedTuple):
    """For each example asked about: its Prompt, the log-likelihood of each answer, normalized, and the number of the
    likeliest."""

    prompts: list
    likelihoods: list
    chosen: list


def answer(model, prompts, normalize="none"):
    """The Answers of a model to prompts; normalize: one of NORMALIZED."""
    likelihoods = log_likelihoods(model, [(prompt.ids, prompt.answers) for prompt in prompts])
    if normalize == "tokens":
        likelihoods = [each / list(map(len, prompt.answers)) for each, prompt in zip(likelihoods, prompts)]
    elif normalize == "unconditional":
        alone = log_likelihoods(model, [(prompt.alone, prompt.answers) for prompt in prompts])
        likelihoods = [each - bare for each, bare in zip(likelihoods, alone)]
    return Answers(prompts, likelihoods, [int(np.argmax(each)) for each in likelihoods])


def log_likelihoods(model, questions, threads=None):
    """For each (prompt, answers), ids all, an array: log p(answer | prompt) of each answer, the sum over its tokens.

    An answer is read off a row whose beginning is the prompt and the answer without its last token; what one row begins
    with need not be run again, so that answers of one token take a single row together. Rows of about the same length
    run at once. Raises InputError for ids that the model does not know and a prompt of none, NonFiniteError when a
    likelihood is no number.
    """
    if not all(prompt for prompt, _ in questions):
        raise InputError("there are no tokens before the answers; a language model continues at least one")
    wanted = {}  # row -> [(question, answer, first place, targets)]
    for number, (prompt, answers) in enumerate(questions):
        for which, row in enumerate(rows_of(prompt, answers)):
            wanted.setdefault(row, []).append((number, which, len(prompt) - 1, answers[which]))
    batches = []
    for row in sorted(wanted, key=len):
        if not batches or (len(batches[-1]) + 1) * len(row) > TOKENS_AT_ONCE:
            batches.append([])
        batches[-1].append(row)
    found = [np.zeros(len(answers)) for _, answers in questions]
    for each in over_batches(model, batches, lambda batch: list(likelihoods_of(model, batch, wanted)), threads):
        for number, which, value in each:
            found[number][which] = value
    if not all(np.isfinite(values).all() for values in found):
        raise NonFiniteError("the likelihood of an answer is not a finite number: the model diverged in training")
    return found


def rows_of(prompt, answers):
    """For each answer the row, a tuple, to read it off: the longest that begins with what it needs."""
    rows = [(*prompt, *ids[:-1]) for ids in answers]
    return [max((other for other in rows if other[: len(row)] == row), key=len) for row in rows]


def likelihoods_of(model, batch, wanted):
    """Yields (question, answer, log-likelihood) for the answers that are wanted of a batch of rows."""
    ids, _, _ = model.read_batch({"input_ids": pad_rows(batch, 0)[0]})  # no token sees the padding after it
    x, _ = model.hidden(ids, None)  # (B, T, C)
    for place, row in enumerate(batch):
        first = min(begin for _, _, begin, _ in wanted[row])
        logits = model.ops.at("head").linear_forward(x[place, first : len(row)], model.head)[0]  # (t, V)
        logits = to_host(logits).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        for number, which, begin, targets in wanted[row]:
            places = np.arange(begin - first, begin - first + len(targets))
            yield number, which, log_probs[places, targets].sum()


# ---- what is shown


def show_prompt(prompter, example, answers, title):
    """The whole prompt of the first example, and what the model makes of it."""
    prompt, likelihoods = answers.prompts[0], answers.likelihoods[0]
    note = f"{prompt.shots} shot{'s' * (prompt.shots != 1)}{', its beginning cut' * prompt.cut}"
    print(f"The prompt of {example.where}, with {note}:\n\n{prompt.text}\n")
    _, texts = wording(example, prompter.labels)
    marks = {answers.chosen[0]: "likeliest"}
    marks[prompter.place(example)] = " and ".join(["right", *marks.get(prompter.place(example), "").split()])
    shown = [repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…") for text in texts]
    rows = [(text, f"{nats:.3f}", marks.get(n, "")) for n, (text, nats) in enumerate(zip(shown, likelihoods))]
    print_table(title, rows, ("answer", "nats", ""))


def show_results(source, train, asked, results):
    """Accuracy by the number of shots, beside what chance and the commonest label would have."""
    labels, choice = label_names(train), hasattr(asked[0], "choices")
    rows = []
    for count, answers in results.items():
        said = answers.chosen if choice else [labels[place] for place in answers.chosen]
        had = [prompt.shots for prompt in answers.prompts]
        notes = [f"{sum(shots < count for shots in had)} had fewer: {np.mean(had):.1f} on average"] * (min(had) < count)
        cut = sum(prompt.cut for prompt in answers.prompts)
        rows.append((str(count), accuracy(asked, said), "; ".join(notes + [f"{cut} were cut"] * (cut > 0))))
    chance = np.mean([1 / len(prompt.answers) for prompt in answers.prompts])
    rows.append(("chance", f"{chance:.3f}", ""))
    if not choice:
        given = [gold(example) for example in train]
        commonest = max(labels, key=given.count)
        rows.append((f"always {commonest}", accuracy(asked, [commonest] * len(asked)), ""))
    print_table(f"\n{source}: accuracy on {len(asked)} examples, ± its standard error; demonstrations from "
                f"{len(train):,} others", rows, ("shots", "accuracy", ""))  # fmt: skip


def accuracy(asked, said):
    """The share that is right, with the standard error of a share of so many."""
    share = np.mean([gold(example) == each for example, each in zip(asked, said)])
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(asked)):.3f}"
