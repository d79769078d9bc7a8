"""The directories of word2vec. transformers has no such model: the layout is our own, in the same kinds of files."""

from scratchgpt.interop.layout import Layout
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig, parameter_spec

WORD2VEC = Layout(
    model_type="word2vec",
    architecture="Word2Vec",
    model=Word2Vec,
    config=Word2VecConfig,
    spec=parameter_spec,
    ours={},
    table=(("centre", "centre", False), ("context", "context", False)),
    fields={"vocab_size": ("vocab_size", 10000), "hidden_size": ("n_embd", 100)},
    activation_key=None,
    activations={},
    prefix="",
)
LAYOUTS = (WORD2VEC,)
