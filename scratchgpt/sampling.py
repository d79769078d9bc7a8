"""Sampling, one token at a time: `generate` continues a prompt, `generate_output` answers an input."""

import numpy as np

from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import KVCache
from scratchgpt.models.t5 import DecoderCache


def generate(
    model, ids, max_new_tokens=100, temperature=1.0, top_k=None, top_p=None, seed=0, use_cache=True, on_slide=None
):
    """Yields max_new_tokens ids that continue the prompt `ids` (a sequence of ints), one by one.

    temperature divides the logits; 0 is greedy: the most likely token. top_k keeps the k most likely tokens (Fan et al.
    2018), top_p the smallest set whose probability reaches p (nucleus sampling, Holtzman et al. 2020). seed fixes the
    draws. use_cache=False runs the whole window for every token: slower, the same tokens.

    The model sees at most n_ctx tokens. When they are full the window slides: its first half is forgotten (see
    window_start), and on_slide() is called, once. Raises InputError for an empty prompt, one longer than n_ctx, and
    settings out of range.
    """
    ids = [int(i) for i in ids]
    check_settings(model, ids, max_new_tokens, temperature, top_k, top_p, seed)
    return _generate(model, ids, max_new_tokens, temperature, top_k, top_p, seed, use_cache, on_slide)


def _generate(model, ids, max_new_tokens, temperature, top_k, top_p, seed, use_cache, on_slide):
    rng = np.random.default_rng(seed)
    n_ctx = model.config.n_ctx
    cache, start, seen = KVCache(model), 0, 0  # the cache holds ids[start:seen]
    for _ in range(max_new_tokens):
        window = window_start(len(ids), n_ctx)
        if window != start:
            if start == 0 and on_slide is not None:
                on_slide()
            start = seen = window
            cache.length = 0  # positions moved: every key and value changes
        if not use_cache:
            cache.length, seen = 0, start
        logits = to_host(model.next_logits([ids[seen:]], cache))[0]  # (V,)
        seen = len(ids)
        token = pick(logits, rng, temperature, top_k, top_p)
        ids.append(token)
        yield token


def window_start(length, n_ctx):
    """Where the window begins that predicts token number `length`: 0 while everything fits, then whole halves of n_ctx,
    so that a cache is rebuilt once per half and not at every token.

    length=8, n_ctx=8 -> 0; length=9 -> 4; length=12 -> 4; length=13 -> 8
    """
    half = max(1, n_ctx // 2)
    return max(0, -(-(length - n_ctx) // half) * half)


def generate_output(model, ids, max_new_tokens=100, temperature=1.0, top_k=None, top_p=None, seed=0, use_cache=True):
    """Yields, one by one, the ids that a T5 says for the input `ids` (a sequence of ints): up to the end of sequence,
    which is left out, and at most max_new_tokens, or n_ctx, of them.

    The settings are generate's; use_cache=False runs both stacks whole for every token. Raises InputError for an empty
    input, one longer than n_ctx, a model without a decoder, and settings out of range.
    """
    batch = {"input_ids": [[int(i) for i in ids]]}
    model.read_batch(batch | {"labels": [[model.config.start_id]]})
    check_draws(max_new_tokens, temperature, top_k, top_p, seed)
    return _generate_output(model, batch, max_new_tokens, temperature, top_k, top_p, seed, use_cache)


def _generate_output(model, batch, max_new_tokens, temperature, top_k, top_p, seed, use_cache):
    rng, config = np.random.default_rng(seed), model.config
    cache, said = DecoderCache(model, batch) if use_cache else None, [config.start_id]
    for _ in range(min(max_new_tokens, config.n_ctx)):
        if use_cache:
            logits = model.next_logits([said[-1:]], cache)  # (1, V)
        else:
            logits = model.logits(batch | {"decoder_input_ids": [said]})[:, -1]
        token = pick(to_host(logits)[0], rng, temperature, top_k, top_p)
        if token == config.eos_id:
            return
        said.append(token)
        yield token


def pick(logits, rng, temperature=1.0, top_k=None, top_p=None):
    """One token id drawn from logits (V,); see generate."""
    if temperature == 0:
        return int(logits.argmax())
    logits = logits.astype(np.float64)
    with np.errstate(over="ignore"):  # a temperature near 0 leaves 0 and -inf
        logits = (logits - logits.max()) / temperature
    if top_k is not None and top_k < logits.size:
        logits[logits < np.partition(logits, -top_k)[-top_k]] = -np.inf
    probs = np.exp(logits)
    probs /= probs.sum()
    if top_p is not None and top_p < 1:
        order = np.argsort(-probs, kind="stable")
        before = np.cumsum(probs[order]) - probs[order]  # probability of everything more likely
        probs[order[before >= top_p]] = 0
        probs /= probs.sum()
    return int(min(np.searchsorted(np.cumsum(probs), rng.random(), side="right"), np.flatnonzero(probs)[-1]))


def check_settings(model, ids, max_new_tokens, temperature, top_k, top_p, seed):
    if not ids:
        raise InputError("the prompt is empty; a language model continues at least one token")
    if len(ids) > model.config.n_ctx:
        raise InputError(f"the prompt has {len(ids)} tokens; this model's context is {model.config.n_ctx}: shorten it")
    check_draws(max_new_tokens, temperature, top_k, top_p, seed)


def check_draws(max_new_tokens, temperature, top_k, top_p, seed):
    if max_new_tokens < 0:
        raise InputError(f"max_new_tokens is {max_new_tokens}; expected at least 0")
    if not 0 <= temperature < np.inf:
        raise InputError(f"temperature is {temperature}; expected 0 (greedy) or more")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}; expected at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top_p is {top_p}; expected 0 < top_p <= 1")
    if seed is not None and seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
