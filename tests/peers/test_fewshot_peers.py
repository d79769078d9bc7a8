"""Likelihoods of answers against transformers' GPT-2, read from its own directory."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from scratchgpt import fewshot
from scratchgpt.tokenizers import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer


def test_likelihoods_are_those_of_a_transformers_gpt2(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=300, n_positions=40, n_embd=12, n_layer=2, n_head=2)
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    theirs.save_pretrained(tmp_path)
    BPETokenizer.train("sun rain snow wind stone river", 270).save(tmp_path)
    model, tokenizer = fewshot.load_gpt(tmp_path)
    prompt, answers = tokenizer.encode("Text: sun\nLabel:"), list(map(tokenizer.encode, (" yes", " no", " sunny")))
    for value, ids in zip(fewshot.log_likelihoods(model, [(prompt, answers)])[0], answers):
        with torch.no_grad():
            log_probs = theirs(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(ids) - 1)
        assert value == pytest.approx(log_probs[places, ids].sum().item(), rel=1e-9)  # float64 on both sides
