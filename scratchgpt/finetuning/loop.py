"""Finetuning: a head on a pretrained model, AdamW, early stopping on the validation metric, the best weights kept."""

import contextlib
import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from scratchgpt.backend import available_cores, to_host
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.finetuning.coders import CODERS, Settings
from scratchgpt.finetuning.inputs import with_marks
from scratchgpt.finetuning.predicting import alike, outputs
from scratchgpt.models.bert import BERT, BERTConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.heads import Head, put_head
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.progress import Progress
from scratchgpt.tasks import TASKS, gold, label_names, score
from scratchgpt.train import number, option

NUMBER = "score"  # the name of a regression's one output
LOG_EVERY = 10  # updates between two records of their mean loss


@dataclass(frozen=True)
class FinetuneConfig:
    """How a model is finetuned. Raises InputError for a value that cannot be used."""

    problem: str = option("single", "task", "what a sentence or a pair has: a single label, multi labels, or a number",
                          choices=("single", "multi", "regression"))  # fmt: skip
    lm_weight: float = option(0.0, "task", "of the language model's loss beside the task's (GPT alone)")
    both_orders: bool = option(False, "task", "read a pair both ways round and add up (GPT alone)")
    truncate: bool = option(False, "task", "cut texts that are longer than the model's positions")
    epochs: int = option(10, "optimisation", "passes over the training examples, at most")
    patience: int = option(3, "optimisation", "epochs without a better validation metric after which to stop")
    batch_size: int = option(16, "optimisation", "rows of an update")
    lr: float | None = option(None, "optimisation", "highest learning rate (default: 0.04 / width, which is 5e-5 for a "
                              "BERT-base)")  # fmt: skip
    warmup: float = option(0.1, "optimisation", "share of the updates during which the learning rate rises")
    weight_decay: float = option(0.01, "optimisation", "AdamW's decoupled decay, on matrices only")
    grad_clip: float = option(1.0, "optimisation", "largest norm of the gradient; a longer one is scaled down; 0: none")
    seed: int = option(0, "run", "fixes the new weights, the order of the examples and dropout")
    threads: int | None = option(None, "run", "threads that share each batch (default: one per core)")

    def __post_init__(self):
        at_least = {"epochs": 1, "patience": 1, "batch_size": 1, "weight_decay": 0, "grad_clip": 0, "seed": 0,
                    "lm_weight": 0}  # fmt: skip
        for name, least in at_least.items():
            if not least <= getattr(self, name) < math.inf:  # NaN fails too
                raise InputError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise InputError(f"lr is {self.lr}; expected more than 0")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; expected a share of the updates, 0 or more and below 1")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; expected at least 1")


class Result(NamedTuple):
    """What finetuning made: the headed model with its best weights, the tokenizer that goes with it, and the Settings
    of its coder; the metrics of the validation examples at the best epoch, the main one first; that epoch; the
    predictions for them; the records of the loss and the metrics; and what needs no model (`majority`)."""

    model: Head
    tokenizer: Any
    settings: Settings
    metrics: dict
    epoch: int
    predictions: list
    history: list
    majority: dict | None

    @property
    def metric(self):
        """The main one."""
        return next(iter(self.metrics.values()))

    @property
    def standing(self):
        """What results are compared by: the main metric, where two have the same the next one, and so on."""
        return tuple(self.metrics.values())


def finetune(model, tokenizer, train, validation, task, config=None, quiet=True):
    """The Result of finetuning a pretrained BERT, RoBERTa, SpanBERT or GPT; model itself is not changed.

    train, validation: labelled examples (scratchgpt.tasks); task: one of tasks.TASKS. The same seed and threads give
    the same bits. Raises InputError, naming the example, for whatever does not fit; NonFiniteError when it diverges.
    """
    return Finetuner(model, tokenizer, train, validation, task, config).run(quiet)


class Finetuner:
    """A finetuning that can be watched: nothing happens before run(). The arguments are those of `finetune`."""

    def __init__(self, model, tokenizer, train, validation, task, config=None):
        self.config = config = config or FinetuneConfig()
        self.task, self.train, self.validation = task, train, validation
        check_examples(train, validation, task, config)
        base = backbone_of(model)
        check_options(base, task, config)
        if isinstance(base, GPT):
            base, tokenizer = with_marks(base, tokenizer, config.seed)
        self.tokenizer, head = tokenizer, "sentence" if task == "pair" else task
        labels = labels_of(train, head, config.problem)
        self.model = put_head(base, head, labels, config.problem, config.lm_weight, config.seed)
        self.settings = settings_for(train, task, tokenizer, config)
        coder = self.coder = CODERS[head](self.model.config, tokenizer, self.settings)
        self.rows, self.validation_rows = coder.rows(train), coder.rows(validation)
        self.steps_per_epoch = math.ceil(len(self.rows) / config.batch_size)
        self.steps = self.steps_per_epoch * config.epochs
        self.lr = config.lr or 0.04 / self.model.config.n_embd
        self.threads = config.threads or available_cores()
        self.shards = Shards(self.model, self.threads)
        self.optimizer = AdamW(
            self.model.params, self.model.ops, 0.9, 0.999, weight_decay=config.weight_decay, threads=self.threads
        )
        self.majority = majority(task, config.problem, train, validation)
        self.history, self.done = [], 0

    def batches(self, epoch):
        """The rows of each update of an epoch: a pure function of (seed, epoch)."""
        order = np.random.Generator(np.random.PCG64([self.config.seed, epoch])).permutation(len(self.rows)).tolist()
        return [order[start : start + self.config.batch_size] for start in range(0, len(order), self.config.batch_size)]

    def step(self, numbers):
        """One update: (loss, norm of the gradient), as floats. Raises NonFiniteError, the weights as they were."""
        numbers = sorted(numbers, key=lambda n: len(self.rows[n].inputs))  # choices: as many in each micro-batch
        groups = alike(self.rows, numbers, len(numbers))
        batches = [self.coder.training_batch([self.rows[n] for n in group]) for group in groups]
        loss = number(self.shards.loss_and_grad(batches, self.config.seed, self.done))
        norm = number(self.optimizer.norm())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NonFiniteError(f"step {self.done + 1}: the loss is {loss:.4g}, the gradient's norm {norm:.4g}; try a "
                                 f"lower lr than {self.lr:.2g}")  # fmt: skip
        self.optimizer.step(self.learning_rate(), self.config.grad_clip or None, norm)
        self.done += 1
        return loss, norm

    def learning_rate(self):
        return cosine_schedule(self.done, self.lr, round(self.config.warmup * self.steps), self.steps)

    def run(self, quiet=True, keep=None, log=None):
        """Trains and returns the Result. keep(Result): called whenever there is a better one; log(record): with every
        record of the history."""
        store, best, weights = self.model.params, None, None
        with Progress(self.steps, quiet) as progress:
            for epoch in range(1, self.config.epochs + 1):
                self.run_epoch(epoch, progress, log)
                result = self.evaluated(epoch)
                better = best is None or result.standing > best.standing
                record = {"step": self.done, "epoch": epoch, "metrics": result.metrics, "best": better}
                self.record(record, log)
                if better:
                    best, weights = result, to_host(store.data).copy()
                    if keep is not None:
                        keep(best)
                if not quiet:
                    with contextlib.suppress(BrokenPipeError):  # nobody reads any more: the training goes on
                        print(
                            f"epoch {epoch}: {said(result.metrics)}{', the best so far' if better else ''}", flush=True
                        )
                if epoch - best.epoch >= self.config.patience:
                    break
        store.data[...] = store.xp.asarray(weights)
        return best

    def run_epoch(self, epoch, progress, log):
        begun, tokens, losses = time.monotonic(), 0, []
        for numbers in self.batches(epoch):
            lr = self.learning_rate()
            loss, norm = self.step(numbers)
            losses.append(loss)
            tokens += sum(len(one.ids) for n in numbers for one in self.rows[n].inputs)
            passed = time.monotonic() - begun
            each = passed / (self.done - (epoch - 1) * self.steps_per_epoch)
            record = {
                "step": self.done, "epoch": epoch, "loss": float(np.mean(losses[-LOG_EVERY:])), "lr": lr,
                "grad_norm": norm, "tokens_per_s": round(tokens / max(passed, 1e-9), 1),
            }  # fmt: skip
            if len(losses) % LOG_EVERY == 0 or self.done == 1:
                self.record(record, log)
            progress.show(record | {"seconds_left": each * (self.steps - self.done)})

    def record(self, record, log):
        self.history.append(record)
        if log is not None:
            log(record)

    def evaluated(self, epoch):
        """The Result of the weights as they are."""
        logits = outputs(self.model, self.coder, self.validation_rows, self.threads)
        predictions = self.coder.predictions(self.validation, self.validation_rows, logits)
        metrics = score(self.task, self.validation, [each.value for each in predictions], self.config.problem)
        return Result(self.model, self.tokenizer, self.settings, metrics, epoch, predictions, self.history,
                      self.majority)  # fmt: skip


def said(metrics):
    """ "accuracy 0.812, macro F1 0.809"."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def check_examples(train, validation, task, config):
    """Raises InputError for a part without examples, one without a label, and a problem that the task has not."""
    if task not in TASKS:
        raise InputError(f"task is {task!r}; expected {', '.join(TASKS)}")
    if config.problem != "single" and task not in ("sentence", "pair"):
        raise InputError(f"problem is {config.problem!r}; only a sentence or a pair has several labels or a number")
    for name, examples in (("training", train), ("validation", validation)):
        if not examples:
            raise InputError(f"there are no {name} examples; finetuning needs some of both kinds")
        bare = next((example for example in examples if gold(example) is None), None)
        if bare is not None:
            raise InputError(f"{bare.where}: it has no label; {name} examples need one")


def check_options(base, task, config):
    """Raises InputError for an option that this model or task has no use for."""
    for name, given in (("lm_weight", config.lm_weight), ("both_orders", config.both_orders)):
        if given and not isinstance(base, GPT):
            raise InputError(f"{name} is {given}, which is for a GPT; this model is a {type(base).__name__}")
    if config.both_orders and task != "pair":
        raise InputError(f"both_orders is about pairs; the task is {task}")


def backbone_of(model):
    """A BERT or GPT without a head, as put_head takes it; of a headed model what is under the head."""
    if isinstance(model, Head):
        headed, model = model, model.backbone
        config = model.config
        model = type(model)(config, None, headed.params.dtype, ops=headed.ops, xp=headed.xp)
        for name in model.params.names:
            if name in headed.params.spec:
                model.params[name][...] = headed.params[name]
    known = isinstance(model, BERT | GPT) and isinstance(model.config, BERTConfig | GPTConfig)
    if not known or getattr(model.config, "moe", None):
        kind = "GPT with mixtures of experts" if known else type(model).__name__
        raise InputError(f"this is a {kind}; heads are put on a BERT, a RoBERTa, a SpanBERT or a dense GPT")
    return model


def fresh(model, seed):
    """A model of the same shape and new weights, to be compared with the pretrained one."""
    model = backbone_of(model)
    return type(model)(model.config, seed, model.params.dtype, ops=model.ops, xp=model.xp)


def labels_of(train, head, problem):
    """The names of a head's outputs. Of tags, I-TYPE is one wherever B-TYPE is: an entity may have a second word."""
    if head in ("span", "choice"):
        return ()
    if problem == "regression":
        return (NUMBER,)
    labels = label_names(train)
    if head == "tag":
        inside = [f"I-{label[2:]}" for label in labels if label.startswith("B-")]
        labels = (*labels, *(label for label in inside if label not in labels))
    return labels


def settings_for(train, task, tokenizer, config):
    settings = Settings(config.truncate, config.both_orders)
    if task != "span":
        return settings
    lengths = [len(tokenizer.encode(text)) for example in train for _, text in example.answers[:1]]
    no_answer = any(not example.answers for example in train)
    return replace(settings, no_answer=no_answer, longest=max([settings.longest, *lengths]))


def majority(task, problem, train, validation):
    """{"says": what, metric: value, ...} of always saying what most training examples have, or of a span no answer, if
    a question may have none; None where the task has no such thing."""
    if problem == "regression" or (task == "span" and all(example.answers for example in train)):
        return None
    if task == "tag":
        most = Counter(tag for example in train for tag in example.tags).most_common(1)[0][0]
        predictions = [(most,) * len(example.tokens) for example in validation]
    else:
        most = "" if task == "span" else Counter(map(gold, train)).most_common(1)[0][0]
        predictions = [most] * len(validation)
    return {"says": most} | score(task, validation, predictions, problem)
