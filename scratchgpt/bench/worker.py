"""One contender of a benchmark, in a process of its own: `python -m scratchgpt.bench.worker`, driven by lines of JSON.

The first line names the job and its settings; the answer says what was built. Every further line {"runs": n} runs the
job n times and is answered with the seconds of each. Between lines the process blocks on its pipe and takes no time
from the others.

PyTorch's contenders run with SCRATCHGPT_TUNE=0: importing this package then changes nothing that they could feel.
"""

import contextlib
import functools
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from scratchgpt import backend, blocks
from scratchgpt.distributed import Shards
from scratchgpt.interop import save
from scratchgpt.models.gpt import GPT, GPTConfig, count_parameters
from scratchgpt.optim import AdamW
from scratchgpt.sampling import generate

LR = 1e-4
MAX_NORM = 1.0


def batches(vocab_size, rows, length, count=4):
    """A few batches of random ids (rows, length + 1), over and over; the same in every process."""
    rng = np.random.default_rng(0)
    return itertools.cycle([rng.integers(0, vocab_size, (rows, length + 1)) for _ in range(count)])


def train_ours(config, rows, length, threads):
    """A training step: forward, backward, clip, AdamW. Returns the loss before the step."""
    model = GPT(GPTConfig(**config), seed=0)
    shards, optimizer = Shards(model, threads), AdamW(model.params, model.ops, threads=threads)
    stream = batches(model.config.vocab_size, rows, length)

    def step():
        loss = shards.loss_and_grad([{"input_ids": next(stream)}])
        optimizer.step(LR, MAX_NORM)
        return float(loss)

    return step, {"loss": step(), "threads": threads}


def train_torch(config, rows, length, threads, compiled=False, try_threads=True):
    """The same step in PyTorch, eager or through torch.compile."""
    import torch

    from scratchgpt.bench.torch_gpt import TorchGPT, adamw

    torch.set_num_threads(threads)
    model = TorchGPT.like(GPT(GPTConfig(**config), seed=0))
    parameters, optimizer = list(model.parameters()), adamw(model, LR)
    stream = map(torch.from_numpy, batches(config["vocab_size"], rows, length))
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(next(stream))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM, foreach=True)
        optimizer.step()
        return loss.item()

    about = {"loss": step()}
    if try_threads and not compiled:  # compiled code is generated for one thread count
        fastest_threads(step, threads)
    return step, about | {"threads": torch.get_num_threads()}


def sample_ours(config, prompt, new_tokens, threads):
    """Greedy sampling with the cache. Returns the tokens."""
    model = GPT(GPTConfig(**config), seed=0)

    def run():
        with backend.blas_threads(threads):
            return list(generate(model, prompt, new_tokens, temperature=0))

    return run, {"threads": threads}


def sample_transformers(config, prompt, new_tokens, threads):
    """The same through transformers' generate, on the same weights."""
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as directory:
        save(GPT(GPTConfig(**config), seed=0), directory)
        model = transformers.GPT2LMHeadModel.from_pretrained(directory).eval()
    ids = torch.tensor([prompt])
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "use_cache": True, "pad_token_id": 0}

    def run(n=new_tokens):
        with torch.inference_mode():
            return model.generate(ids, min_new_tokens=n, max_new_tokens=n, **options)[0, len(prompt) :].tolist()

    torch.set_num_threads(threads)
    fastest_threads(functools.partial(run, max(2, new_tokens // 8)), threads)
    return run, {"threads": torch.get_num_threads()}


def feed_forward(config, rows, length, threads):
    """Forward and backward of a block's feed-forward, or of the mixture of experts that stands for it, each thread with
    its rows on one BLAS thread, as in a training step."""
    model = GPT(GPTConfig(**config), seed=0)
    ops, p, config = model.ops.at("mlp"), model.params.p.blocks[0].mlp, model.config
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((2, rows, length, config.n_embd), np.float32)
    token_weights = np.full((rows, length), 1 / (rows * length), np.float32)
    parts = [np.array_split(a, threads) for a in (x, dout, token_weights)]
    gradients = [model.params.new_grad()[1].blocks[0].mlp for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def part(x, dout, token_weights, g):
        if config.moe:
            _, cache = blocks.moe_forward(ops, x, p, config, blocks.Routing(token_weights, [], []))
            return blocks.moe_backward(ops, dout, cache, g, config.moe.loss_weight)
        _, cache = blocks.feed_forward_forward(ops, x, p, config.activation)
        return blocks.feed_forward_backward(ops, dout, cache, g)

    def run():
        with backend.blas_threads(1):
            list(pool.map(part, *parts, gradients))

    counts = count_parameters(config, active=True)
    return run, {"weights": sum(counts.get(name, 0) for name in ("feed-forward", "experts")) // config.n_layer}


def product(rows, n_in, n_out, threads, side_by_side=False, repeats=8):
    """`repeats` products (rows, n_in) @ (n_out, n_in).T in float32, as BLAS runs them on `threads` threads, or cut by
    rows into as many products on one BLAS thread each: whichever is faster is what the machine can do."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((rows, n_in), np.float32), rng.standard_normal((n_out, n_in), np.float32)
    out = np.empty((rows, n_out), np.float32)
    parts = list(zip(np.array_split(x, threads), np.array_split(out, threads))) if side_by_side else [(x, out)]
    pool = ThreadPoolExecutor(len(parts))

    def multiply(part):
        for _ in range(repeats):
            np.matmul(part[0], weight.T, out=part[1])

    def run():
        with backend.blas_threads(1 if side_by_side else threads):
            list(pool.map(multiply, parts))

    return run, {"flops": 2 * rows * n_in * n_out * repeats}


def fastest_threads(run, threads, rounds=3):
    """Leaves torch at `threads` threads, or at one where that is clearly faster: small work can be slower on two."""
    import torch

    best = dict.fromkeys((threads, 1), float("inf"))
    for n in [*best] * (rounds if threads > 1 else 0):
        torch.set_num_threads(n)
        run()
        best[n] = min(best[n], seconds_of(run)[0])
    torch.set_num_threads(1 if best[1] < 0.95 * best[threads] else threads)


def seconds_of(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def peak_rss():
    """The most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


JOBS = {job.__name__: job for job in (train_ours, train_torch, sample_ours, sample_transformers, feed_forward, product)}


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is not an answer

    def answer(message):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(message), file=answers)

    job = json.loads(sys.stdin.readline())
    run, about = JOBS[job.pop("job")](**job)
    answer(about | {"kernels": backend.blas_kernels(), "tuning": backend.tuning})
    for line in sys.stdin:
        timed = [seconds_of(run) for _ in range(json.loads(line)["runs"])]
        answer({"seconds": [seconds for seconds, _ in timed], "result": timed[-1][1], "peak_rss": peak_rss()})


if __name__ == "__main__":
    main()
