"""What a finetuned model says of examples."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from scratchgpt.backend import available_cores, blas_threads, silence_float_warnings, to_host
from scratchgpt.errors import NonFiniteError
from scratchgpt.finetuning.coders import CODERS, Settings

ROWS = 32  # that are run at once


def predict(model, tokenizer, examples, settings=None, threads=None):
    """[Prediction] of examples, in their order.

    model: a Head; tokenizer: its own; settings: what it was finetuned with (`open_finetuned` reads them). The numbers
    do not depend on the threads. Raises InputError for an example that does not fit the model, NonFiniteError when what
    it says is no number.
    """
    coder = CODERS[model.config.task](model.config, tokenizer, settings or Settings())
    rows = coder.rows(examples)
    return coder.predictions(examples, rows, outputs(model, coder, rows, threads))


def outputs(model, coder, rows, threads=None):
    """What model.logits says of each row, on the host and without a batch's first axis. Rows of a size are run
    together; each batch by one thread. Raises NonFiniteError."""
    order = sorted(range(len(rows)), key=lambda n: (len(rows[n].inputs), max(len(one.ids) for one in rows[n].inputs)))
    batches = list(alike(rows, order, ROWS))
    threads = 1 if model.xp.__name__ != "numpy" else threads or available_cores()

    def run(numbers):
        with silence_float_warnings(model.xp):
            said = model.logits(coder.batch([rows[n] for n in numbers]))
        parts = [to_host(part) for part in (said if isinstance(said, tuple) else (said,))]
        if not all(np.isfinite(part).all() for part in parts):
            raise NonFiniteError("what the model says is not finite: it diverged in training; try a lower lr")
        return list(zip(*parts)) if isinstance(said, tuple) else list(parts[0])

    found = [None] * len(rows)
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        for numbers, said in zip(batches, pool.map(run, batches)):
            for number, each in zip(numbers, said):
                found[number] = each
    return found


def alike(rows, order, most):
    """Yields lists of at most `most` numbers of rows, in order, that have as many inputs each."""
    batch = []
    for number in order:
        if batch and (len(batch) == most or len(rows[batch[0]].inputs) != len(rows[number].inputs)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
