"""Contenders taking turns: one process each, so that neither library's threads, allocator or BLAS touch the other's."""

import json
import statistics
import subprocess
import sys
import tempfile
import time

from scratchgpt.backend import child_environment

PAUSE = 0.1  # seconds between turns: a finished product's BLAS and OpenMP threads spin for a while
TURN = 0.6  # seconds a turn should last, at least one run
UNTUNED = {"SCRATCHGPT_TUNE": "0"}  # the environment of PyTorch's contenders
KERNELS = {"auto": {}, "haswell": {"OPENBLAS_CORETYPE": "Haswell"}}  # of ours


class ContenderError(RuntimeError):
    """A contender's process ended early; the message is the last line that it wrote."""


class Contender:
    """A worker process with one job (see worker.JOBS) and its settings. `about` is what it says it has built.

    >>> with Contender("product", rows=64, n_in=32, n_out=32, threads=1) as contender:      # doctest: +SKIP
    ...     contender.run(3)["seconds"]
    """

    def __init__(self, job, environment=None, **settings):
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  close() closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scratchgpt.bench.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=child_environment(**(environment or {})),
        )  # fmt: skip
        try:
            self.about = self.ask({"job": job, **settings})
        except BaseException:  # Ctrl-C too: no worker is left behind
            self.close()
            raise

    def ask(self, message):
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.log.seek(0)
            last = [line for line in self.log.read().splitlines() if line.strip()][-1:]
            raise ContenderError(f"{' '.join(last)[:300] or 'no message'} (exit status {self.process.returncode})")
        return json.loads(line)

    def run(self, runs=1):
        """{"seconds": of each run, "result": what the last one returned, "peak_rss": bytes so far}"""
        return self.ask({"runs": runs})

    def close(self):
        """Its input ends, and so does it."""
        if self.process.stdin.closed:
            return
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def alternate(contenders, rounds, turn=TURN):
    """{name: [seconds of a run, one per round]} of {name: Contender}: A B A B ..., so that whatever else the machine
    does hits all alike. Each has run untimed before; a turn is as many runs as last about `turn` seconds."""
    runs = {}
    for name, contender in contenders.items():
        contender.run()
        runs[name] = max(1, round(turn / contender.run()["seconds"][0]))
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            time.sleep(PAUSE)
            seconds[name].append(statistics.median(contender.run(runs[name])["seconds"]))
    return seconds


def median_ratio(numerators, denominators):
    """The median over rounds of a / b, each of one round."""
    return statistics.median(a / b for a, b in zip(numerators, denominators))
