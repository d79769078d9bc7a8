"""Text in, training batches out.

corpus.py     the embedded corpora, text files, and what of a text is held out
text.py       next tokens (GPT), and the entropy lines of a token stream
masked.py     masked tokens (BERT, RoBERTa, SpanBERT)
corrupted.py  corrupted spans, or prefixes (T5)
skipgrams.py  words, the words around them, and negatives (word2vec)

**A dataset** is what the Trainer trains on and all that it knows of a family of models. It is any object with

    at(step)         the micro-batches of update `step` (from 0): a list of dicts as model.loss takes them. A pure
                     function of (seed, step), so that nothing has to be saved to continue a run but two integers.
    tokens_per_step  tokens that an update reads, for tokens per second and the count of epochs
    n_train, n_val   tokens of the training and of the validation text
    flops_per_token  of a training step, for the MFU
    lines            {name: nats}: the losses of guessers that know less than the model, dashed in loss.png; read once,
                     when the run starts
    curve            the key of the records of metrics.jsonl whose values the lines are about ("loss", "mlm_loss")
    unit             what that loss is the mean over, "token" or "pair"
    title            one line over loss.png: the model and its shape
    evaluate(model, threads=None, whole=True)
                     how well the model does on the validation text, or (whole=False) on a fixed part of it. A result
                     has nats_per_token, to be held against the lines; rows(), [(name, text)] for the table at the
                     end; and figures(), {name: value} for the last line of metrics.jsonl.
    verdict(result)  one sentence: what the result says between the lines
    digest()         what tells this corpus, split and objective from another: a run is resumed on the same one only

A model that is trained on it has params, ops, xp, config, loss, backward, count_targets and activation_bytes, as GPT
has them; a model with losses(cache) has its parts in metrics.jsonl, as "mlm_loss" and "nsp_loss".
"""

from scratchgpt.data.corpus import (
    EMBEDDED,
    HELD_OUT,
    decode_text,
    documents_of,
    load_text,
    path_of,
    split_documents,
    split_text,
)
from scratchgpt.data.text import Batches, NextTokens, divided, entropy_lines, what_loss_means

__all__ = [
    "EMBEDDED", "HELD_OUT", "Batches", "NextTokens", "decode_text", "divided", "documents_of", "entropy_lines",
    "load_text", "path_of", "split_documents", "split_text", "what_loss_means",
]  # fmt: skip
