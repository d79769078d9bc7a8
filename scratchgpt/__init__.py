"""Language-model pretraining from scratch: every forward and backward pass by hand, in NumPy or CuPy.

>>> import scratchgpt as sg                                             # doctest: +SKIP
>>> model = sg.load("runs/plays")                                       # doctest: +SKIP
"""

from importlib import import_module

from scratchgpt import backend as _backend  # noqa: F401  first: BLAS is tuned before NumPy is loaded

__version__ = "0.1.0"

# name -> the module that defines it; imported on first use, so that `import scratchgpt` stays quick
_HOME = {
    "AdamW": "optim",
    "BERT": "models.bert",
    "BERTConfig": "models.bert",
    "BPETokenizer": "tokenizers",
    "GPT": "models.gpt",
    "GPTConfig": "models.gpt",
    "HeadConfig": "models.heads",
    "InputError": "errors",
    "PRESETS": "models.gpt",
    "RoBERTaConfig": "models.bert",
    "SpanBERTConfig": "models.bert",
    "T5": "models.t5",
    "T5Config": "models.t5",
    "TrainConfig": "train",
    "Trainer": "train",
    "Word2Vec": "models.word2vec",
    "Word2VecConfig": "models.word2vec",
    "generate": "sampling",
    "load": "interop",
    "load_tokenizer": "interop",
    "put_head": "models.heads",
    "save": "interop",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'scratchgpt' has no attribute {name!r}")
    return getattr(import_module(f"scratchgpt.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
