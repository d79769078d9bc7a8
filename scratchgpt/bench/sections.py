"""What is compared with what. A section starts its contenders, lets them take turns, and gives rows of ratios.

Goals stand beside the ratios to be compared with them; a row without one is there to be read.
"""

import os
import shutil
import statistics
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from scratchgpt import data
from scratchgpt.backend import AVX512_NEEDED, cpu_flags
from scratchgpt.bench.contest import UNTUNED, Contender, ContenderError, alternate, median_ratio
from scratchgpt.models.gpt import PRESETS, GPTConfig, count_parameters, training_flops_per_token
from scratchgpt.models.moe import MoEConfig
from scratchgpt.tokenizers import BPETokenizer
from scratchgpt.tokenizers import bench as tokenizers_bench

SAME_LOSS = 1e-4  # relative: float32 rounding through a whole model stays an order below
NEW_TOKENS = 256
PLAYS_FILE = data.path_of("plays")
PROMPT = list(range(1, 17))


@dataclass(frozen=True)
class Shape:
    """A model and the batch it is run on."""

    name: str
    config: GPTConfig
    rows: int = 1
    length: int = 0

    @property
    def job(self):
        return {"config": asdict(self.config), "rows": self.rows, "length": self.length}


LARGE = Shape("L6 H6 C384 T256 B8 V1024", GPTConfig(1024, 256, 6, 6, 384), 8, 256)
SMALL = Shape("L4 H4 C128 T128 B16 V512", GPTConfig(512, 128, 4, 4, 128), 16, 128)
GPT2 = Shape("GPT-2 124M, T512 B4", replace(PRESETS["gpt2"], dropout=0.0), 4, 512)
SAMPLED = Shape("L6 H6 C384 V1024", GPTConfig(1024, 512, 6, 6, 384))
SAMPLED_GPT2 = Shape("GPT-2 124M", GPT2.config)
MIXTURE = MoEConfig(8, 2)  # each expert half as wide as the dense layer


@dataclass(frozen=True)
class Settings:
    threads: int
    rounds: int = 9
    ours: dict | None = None  # environment variables of our contenders
    gpt2_files: str | None = None  # a directory with GPT-2's vocabulary and merges


@dataclass(frozen=True)
class Row:
    """One comparison. ratio None: it could not be made, and note says why."""

    what: str
    ratio: float | None
    goal: float | None = None
    at_most: bool = False  # the goal is an upper bound
    ours: float | None = None
    theirs: float | None = None
    unit: str = ""
    against: str = ""
    note: str = ""

    @property
    def met(self):
        if self.ratio is None or self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


def train(settings, goals=((LARGE, 1.7, 1.6), (SMALL, 2.0, None))):
    """Seconds of a training step (forward, backward, clip, AdamW) in float32: PyTorch's over ours."""
    return [row for shape, eager, compiled in goals for row in train_one(settings, shape, eager, compiled)]


def train_one(settings, shape, eager_goal, compiled_goal):
    job = shape.job | {"threads": settings.threads}
    missing = None
    with ExitStack() as stack:
        contenders = {
            "ours": stack.enter_context(Contender("train_ours", settings.ours, **job)),
            "PyTorch eager": stack.enter_context(Contender("train_torch", UNTUNED, **job)),
        }
        try:
            check_compiler()
            compiled = Contender("train_torch", UNTUNED, **job, compiled=True)
            contenders["torch.compile"] = stack.enter_context(compiled)
        except ContenderError as error:
            missing = Row(f"training step, {shape.name}", None, compiled_goal, against="torch.compile", note=str(error))
        seconds = alternate(contenders, settings.rounds)
        about = {name: contender.about for name, contender in contenders.items()}
    if settings.ours or not cpu_flags() >= AVX512_NEEDED:  # kernels without AVX-512, asked for or all there is
        eager_goal, compiled_goal = 1.1, None
    rows = []
    for name, goal in (("PyTorch eager", eager_goal), ("torch.compile", compiled_goal)):
        if name in seconds:
            rows.append(Row(
                f"training step, {shape.name}", median_ratio(seconds[name], seconds["ours"]), goal,
                ours=1e3 * statistics.median(seconds["ours"]), theirs=1e3 * statistics.median(seconds[name]),
                unit="ms", against=name, note=f"{taken(about['ours'], about[name])}; {same_loss(about, name)}",
            ))  # fmt: skip
    return rows if missing is None else [*rows, missing]


def check_compiler():
    """Raises ContenderError when torch.compile would find no C++ compiler."""
    if not os.environ.get("CXX") and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ContenderError("torch.compile needs a C++ compiler (g++ or clang++), and there is none")


def taken(ours, theirs):
    return f"kernels {' '.join(ours['kernels'])}; threads {ours['threads']}, theirs {theirs['threads']}"


def same_loss(about, name):
    ours, theirs = about["ours"]["loss"], about[name]["loss"]
    if abs(ours - theirs) <= SAME_LOSS * abs(theirs):
        return f"the same first loss, {ours:.4f}"
    return f"THE FIRST LOSSES DIFFER, {ours:.6f} and {theirs:.6f}: this does not compare equal work"


def needed_flops_per_token(config, length):
    """FLOPs per token of the products that a training step needs: as training_flops_per_token, but a query meets only
    the (length + 1) / 2 keys, on average, that its causal mask shows. Nothing computed twice is counted."""
    hidden = 6 * config.n_layer * config.n_embd * (length - 1)
    return training_flops_per_token(config, length) - hidden


def sgemm(settings, shape=LARGE):
    """The share of this machine's own sgemm rate that a training step reaches, on one thread and on all."""
    rows = []
    for threads, goal in {1: 0.75, settings.threads: 0.75 if settings.threads == 1 else 0.65}.items():
        rows.append(sgemm_on(threads, settings, shape, goal))
    return rows


def sgemm_on(threads, settings, shape, goal):
    config = shape.config
    n_rows = shape.rows * shape.length
    n_out = max(config.inner, config.vocab_size)
    with ExitStack() as stack:

        def start(job, **options):
            return stack.enter_context(Contender(job, settings.ours, **options, threads=threads))

        contenders = {"step": start("train_ours", **shape.job)}
        for name in ("one", "parts") if threads > 1 else ("one",):
            contenders[name] = start(
                "product", rows=n_rows, n_in=config.n_embd, n_out=n_out, side_by_side=name == "parts"
            )  # fmt: skip
        seconds = alternate(contenders, settings.rounds)
        about = {name: contender.about for name, contender in contenders.items()}
    step_flops = n_rows * needed_flops_per_token(config, shape.length)
    rates = {name: [about[name]["flops"] / s for s in seconds[name]] for name in seconds if name != "step"}
    best = max(rates, key=lambda name: statistics.median(rates[name]))
    ours = [step_flops / s for s in seconds["step"]]
    how = {"one": "one BLAS call", "parts": f"{threads} products side by side, the faster way"}[best]
    return Row(
        f"share of sgemm, {threads} thread{'s' * (threads > 1)}, {shape.name}", median_ratio(ours, rates[best]), goal,
        ours=statistics.median(ours) / 1e9, theirs=statistics.median(rates[best]) / 1e9, unit="GFLOP/s",
        against="sgemm alone",
        note=f"kernels {' '.join(about['step']['kernels'])}; sgemm is ({n_rows}, {config.n_embd}) @ "
             f"({config.n_embd}, {n_out}), {how}; counted: the products that are needed, so not the half of attention "
             "that the causal mask hides",
    )  # fmt: skip


def memory(settings, shape=GPT2, steps=3, goal=0.8):
    """Peak resident memory of a process that makes training steps, whole: interpreter and libraries included."""
    peaks = {}
    for name, job, environment, options in (
        ("ours", "train_ours", settings.ours, {}),
        ("theirs", "train_torch", UNTUNED, {"try_threads": False}),
    ):
        with Contender(job, environment, **shape.job, threads=settings.threads, **options) as contender:
            peaks[name] = contender.run(steps - 1)["peak_rss"] / 1e9  # one was made at the start
    floor = 16 * sum(count_parameters(shape.config).values()) / 1e9
    return [Row(
        f"peak memory of {steps} training steps, {shape.name}", peaks["ours"] / peaks["theirs"], goal, at_most=True,
        ours=peaks["ours"], theirs=peaks["theirs"], unit="GB", against="PyTorch eager",
        note=f"threads {settings.threads}; weights, gradients, m and v alone are {floor:.2f} GB",
    )]  # fmt: skip


def sample(settings, goals=((SAMPLED, 3.0), (SAMPLED_GPT2, 4.0)), new_tokens=NEW_TOKENS):
    """Tokens per second, greedy, one row, with the cache: ours over transformers' generate on the same weights."""
    return [sample_one(settings, shape, goal, new_tokens) for shape, goal in goals]


def sample_one(settings, shape, goal, new_tokens):
    job = {
        "config": asdict(shape.config), "prompt": PROMPT, "new_tokens": new_tokens, "threads": settings.threads,
    }  # fmt: skip
    with (
        Contender("sample_ours", settings.ours, **job) as ours,
        Contender("sample_transformers", UNTUNED, **job) as theirs,
    ):
        seconds = alternate({"ours": ours, "theirs": theirs}, max(2, settings.rounds // 2))
        tokens, others = ours.run()["result"], theirs.run()["result"]
    same = sum(a == b for a, b in zip(tokens, others))
    first = next((i for i, (a, b) in enumerate(zip(tokens, others)) if a != b), len(tokens))
    note = "the same tokens" if same == len(tokens) == len(others) else f"THE TOKENS DIFFER from number {first} on"
    return Row(
        f"sampling {new_tokens} tokens, {shape.name}", median_ratio(seconds["theirs"], seconds["ours"]), goal,
        ours=new_tokens / statistics.median(seconds["ours"]), theirs=new_tokens / statistics.median(seconds["theirs"]),
        unit="tokens/s", against="transformers", note=f"{taken(ours.about, theirs.about)}; {note}",
    )  # fmt: skip


def moe(settings, shapes=(LARGE, SMALL), mixture=MIXTURE, goal=1.3):
    """Seconds of a mixture of experts, forward and backward, over those of the dense feed-forward whose active FLOPs it
    has, both ours."""
    return [moe_one(settings, shape, mixture, goal) for shape in shapes]


def moe_one(settings, shape, mixture, goal):
    sparse = replace(shape, config=replace(shape.config, moe=mixture))
    with (
        Contender("feed_forward", settings.ours, **sparse.job, threads=settings.threads) as experts,
        Contender("feed_forward", settings.ours, **shape.job, threads=settings.threads) as dense,
    ):
        seconds = alternate({"experts": experts, "dense": dense}, settings.rounds)
        weights = [contender.about["weights"] for contender in (experts, dense)]
    return Row(
        f"layer of {mixture.n_experts} experts, {mixture.top_k} for each token, {shape.name}",
        median_ratio(seconds["experts"], seconds["dense"]), goal, at_most=True,
        ours=1e3 * statistics.median(seconds["experts"]), theirs=1e3 * statistics.median(seconds["dense"]), unit="ms",
        against="dense layer",
        note=f"kernels {' '.join(experts.about['kernels'])}; threads {settings.threads}; forward and backward; a token "
             f"meets {weights[0]:,} weights of experts, {weights[1]:,} of the dense layer",
    )  # fmt: skip


def tokenizer(settings, path=PLAYS_FILE, vocab_size=4096, megabytes=100):
    """Training and encoding beside Hugging Face's and tiktoken's, one thread each, on the embedded plays."""
    what = f"tokenizer, training to {vocab_size:,}"
    trained = tokenizers_bench.training(path, vocab_size, settings.rounds)
    naive = tokenizers_bench.naive_training(path, vocab_size)
    encoded = tokenizers_bench.encoding(path, settings.gpt2_files, settings.rounds)
    text = path.read_bytes().decode("utf-8")
    streamed = tokenizers_bench.streaming_memory(path, BPETokenizer.train(text, vocab_size), megabytes)
    growth = streamed["growth_bytes"] / 1e6 if "growth_bytes" in streamed else None
    return [
        row_of(trained, what, "ratio", 2.0, "ours_s", "hugging_face_s", "s", "BpeTrainer",
               "the same text as one string"),
        row_of(trained, what, "ratio_by_lines", None, "ours_s", "hugging_face_by_lines_s", "s", "BpeTrainer by lines",
               "another task: no token spans lines"),
        row_of(naive, what, "ratio", 100.0, "ours_s", "naive_at_least_s", "s", "Algorithm 1",
               "a lower bound, from the cheapest of the steps that were timed"),
        row_of(encoded, "encoding with GPT-2's merges, cold", "cold_ratio", 0.3, "cold_mb_per_s", "tiktoken_mb_per_s",
               "MB/s", "tiktoken", "our cache of words is empty at the start"),
        row_of(encoded, "encoding with GPT-2's merges, warm", "warm_ratio", 1.0, "warm_mb_per_s", "tiktoken_mb_per_s",
               "MB/s", "tiktoken", "our cache of words is full"),
        Row(f"growth while encoding {megabytes} MB, MB", growth, 2.0, at_most=True, against="its first MB",
            note=streamed.get("skipped", "resident memory, from the first MB to the last")),
    ]  # fmt: skip


def row_of(figures, what, ratio, goal, ours, theirs, unit, against, note):
    """A Row from one of tokenizers.bench's dicts, which may say why there are no figures."""
    return Row(what, figures.get(ratio), goal, ours=figures.get(ours), theirs=figures.get(theirs), unit=unit,
               against=against, note=figures.get("skipped", note))  # fmt: skip


SECTIONS = {  # name -> (what it gives, the packages it compares with)
    "train": (train, ("torch",)),
    "sgemm": (sgemm, ()),
    "memory": (memory, ("torch",)),
    "sample": (sample, ("torch", "transformers")),
    "moe": (moe, ()),
    "tokenizer": (tokenizer, ("tokenizers", "tiktoken")),
}
