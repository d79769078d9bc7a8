"""What a model is trained to say: pure functions on ids, a NumPy Generator in, a frozen dataclass out.

rows.py     what they share: a vocabulary's special tokens, rows that are checked, cut and filled up
bert.py     masked tokens, next sentences       (Devlin et al. 2018)
roberta.py  masks by epoch, full sentences      (Liu et al. 2019)
spanbert.py masked spans and their boundaries   (Joshi et al. 2020)
t5.py       span corruption, prefix LM, LM      (Raffel et al. 2020)
gpt1.py     inputs for finetuning a decoder     (Radford et al. 2018)
"""

from scratchgpt.objectives.bert import mask_tokens, next_sentences
from scratchgpt.objectives.gpt1 import Marks, classification, entailment, multiple_choice, similarity
from scratchgpt.objectives.roberta import dynamic_masks, full_sentences
from scratchgpt.objectives.rows import Vocabulary, pack, pad_rows, truncate_pair
from scratchgpt.objectives.spanbert import mask_spans
from scratchgpt.objectives.t5 import (
    corrupt_spans,
    fill_spans,
    hide_spans,
    language_model,
    prefix_lm,
    raw_length,
    restore_spans,
    sentinel_ids,
)

__all__ = [
    "Marks", "Vocabulary", "classification", "corrupt_spans", "dynamic_masks", "entailment", "fill_spans",
    "full_sentences", "hide_spans", "language_model", "mask_spans", "mask_tokens", "multiple_choice", "next_sentences",
    "pack", "pad_rows", "prefix_lm", "raw_length", "restore_spans", "sentinel_ids", "similarity", "truncate_pair",
]  # fmt: skip
