"""Speed and memory of the tokenizer beside Hugging Face's and tiktoken, one thread each, alternating, medians.

Each function returns a plain dict of figures; a peer that is not installed, or files that are not there, give
{"skipped": reason}.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from scratchgpt.backend import child_environment
from scratchgpt.tokenizers import BPETokenizer, algorithm1
from scratchgpt.tokenizers.encoder import Cache
from scratchgpt.tokenizers.formats import END_OF_TEXT

ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # read when a peer is loaded

TRAIN_WORKER = """
import sys
from scratchgpt.tokenizers import bench
print(*bench.time_training(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def seconds(call, *arguments):
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def training(path, vocab_size=4096, rounds=7):
    """Seconds to train on a text file, in one process of its own: ours and Hugging Face's BpeTrainer, given the same
    text as one string; and given its lines, another task (no token spans lines) that it does faster."""
    if find_spec("tokenizers") is None:
        return {"skipped": "tokenizers is not installed: pip install 'scratchgpt[compare]'"}
    worker = [sys.executable, "-c", TRAIN_WORKER, str(path), str(vocab_size), str(rounds)]
    done = subprocess.run(worker, env=child_environment(**ONE_THREAD), check=True, capture_output=True, text=True)
    ours, theirs, lines = map(float, done.stdout.split())
    return {"ours_s": ours, "hugging_face_s": theirs, "ratio": theirs / ours,
            "hugging_face_by_lines_s": lines, "ratio_by_lines": lines / ours}  # fmt: skip


def time_training(path, vocab_size, rounds):
    """Medians in seconds (ours, Hugging Face's, Hugging Face's by lines); run where ONE_THREAD is in force."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = Path(path).read_bytes().decode("utf-8")
    lines = text.splitlines(keepends=True)

    def hugging_face(texts):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[END_OF_TEXT], show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
        tokenizer.train_from_iterator(texts, trainer)

    calls = [(BPETokenizer.train, text, vocab_size), (hugging_face, [text]), (hugging_face, lines)]
    times = [[seconds(*call) for call in calls] for _ in range(rounds + 1)]
    return tuple(map(statistics.median, zip(*times[1:], strict=True)))  # the first round warms up


def naive_training(path, vocab_size=4096, steps=8, rounds=3):
    """How many times faster than Algorithm 1's plain loop (on counted words).

    The loop takes minutes, so only its first `steps` and its last are timed; every step is taken to cost as little as
    the cheapest of them, which makes the ratio a lower bound.
    """
    text = Path(path).read_bytes().decode("utf-8")
    ours = statistics.median(seconds(BPETokenizer.train, text, vocab_size) for _ in range(rounds))
    tokenizer = BPETokenizer.train(text, vocab_size)
    words = Counter(algorithm1.split_gpt2(text))
    first = [tuple(bytes([byte]) for byte in word.encode("utf-8")) for word in words]
    whole = [tuple(tokenizer.vocab[i] for i in tokenizer.encode(word)) for word in words]
    each = []
    for texts in (first, whole):
        loop = algorithm1.merge_steps(texts, list(words.values()), set(), vocab_size)
        each.append(min(seconds(next, loop) for _ in range(steps)))
    naive = min(each) * len(tokenizer.merges)
    return {"ours_s": ours, "naive_at_least_s": naive, "ratio": naive / ours,
            "naive_first_step_s": each[0], "naive_last_step_s": each[1]}  # fmt: skip


def encoding(path, gpt2_directory, rounds=7):
    """MB/s of encoding a text file with GPT-2's merges: ours with an empty cache (cold) and a full one (warm), and
    tiktoken's.

    gpt2_directory holds encoder.json and vocab.bpe, vocab.json and merges.txt, or tokenizer.json.
    """
    if find_spec("tiktoken") is None:
        return {"skipped": "tiktoken is not installed: pip install 'scratchgpt[compare]'"}
    if gpt2_directory is None:
        return {"skipped": "GPT-2's tokenizer files were not given; they are not part of this package"}
    tokenizer = BPETokenizer.load(gpt2_directory)
    peer = as_tiktoken(tokenizer)
    data = Path(path).read_bytes()
    text, megabytes = data.decode("utf-8"), len(data) / 1e6

    def cold():
        tokenizer._cache = Cache(tokenizer._encoder, tokenizer._cache.entries)
        tokenizer.encode_array(text)

    times = [(seconds(cold), seconds(tokenizer.encode_array, text), seconds(peer.encode_to_numpy, text))
             for _ in range(rounds + 1)][1:]  # fmt: skip
    cold_s, warm_s, peer_s = map(statistics.median, zip(*times, strict=True))
    return {"cold_mb_per_s": megabytes / cold_s, "warm_mb_per_s": megabytes / warm_s,
            "tiktoken_mb_per_s": megabytes / peer_s,
            "cold_ratio": peer_s / cold_s, "warm_ratio": peer_s / warm_s}  # fmt: skip


def as_tiktoken(tokenizer):
    """The same tokenizer as a tiktoken.Encoding (its ranks are the ids, which for GPT-2 are in the merges' order)."""
    import tiktoken

    special = set(tokenizer.special_tokens.values())
    ranks = {token: number for number, token in tokenizer.vocab.items() if number not in special}
    return tiktoken.Encoding(
        "scratchgpt", pat_str=algorithm1.GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=tokenizer.special_tokens
    )


def streaming_memory(path, tokenizer, megabytes=100):
    """Bytes that this process grew by between the first MB and the last while encode_file read `megabytes` of a text,
    repeated from `path` (Linux: resident set size)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return {"skipped": "needs Linux's /proc/self/statm"}
    data = Path(path).read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        big = Path(directory, "big.txt")
        with open(big, "wb") as file:
            while file.tell() < megabytes * 1_000_000:
                file.write(data)
        size = big.stat().st_size
        first, peak, n_tokens, per_token = None, 0, 0, None
        for ids in tokenizer.encode_file(big):
            n_tokens += ids.size
            per_token = per_token or len(tokenizer.decode_bytes(ids)) / ids.size
            resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            if first is None and n_tokens * per_token >= 1_000_000:
                first = resident
            peak = max(peak, resident)
    return {"bytes": size, "tokens": n_tokens, "growth_bytes": peak - first}
