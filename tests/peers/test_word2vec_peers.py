"""word2vec against PyTorch's autograd: the same weights, in float64, must give the same numbers."""

import numpy as np
import pytest

from scratchgpt.check.derivatives import relative_error
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig
from scratchgpt.ops import table
from scratchgpt.optim import AdamW

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peer

V, C, B, K = 23, 7, 37, 5
SAME = 1e-12  # float64 rounds at 1e-16; a row of the gradient is a sum of at most 37 x 6 products


def peer_loss(centre, context, batch):
    """-log sigmoid(score) of the context, -log sigmoid(-score) of each negative, as the paper's equation 4 has it."""
    ids, candidates = (torch.tensor(batch[name]) for name in ("input_ids", "context_ids"))
    scores = torch.einsum("bc,bkc->bk", centre[ids], context[candidates])
    gain = torch.nn.functional.logsigmoid(scores[:, 0]) + torch.nn.functional.logsigmoid(-scores[:, 1:]).sum(1)
    return -gain.mean()


def batches(n):
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield {"input_ids": rng.integers(0, V, B), "context_ids": rng.integers(0, V, (B, 1 + K))}


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_loss_gradients_and_five_adamw_steps_equal_pytorch(ops):
    model = Word2Vec(Word2VecConfig(V, C), seed=0, dtype="float64", ops=table(ops))
    model.params["context"][...] = np.random.default_rng(5).standard_normal((V, C))
    tables = [torch.nn.Parameter(torch.tensor(model.params[name].copy())) for name in ("centre", "context")]
    ours = AdamW(model.params, model.ops, 0.9, 0.95, weight_decay=0.1)
    theirs = torch.optim.AdamW(tables, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for batch in batches(5):
        theirs.zero_grad()
        expected = peer_loss(*tables, batch)
        expected.backward()
        model.params.grad.fill(0)
        loss, cache = model.loss(batch)
        model.backward(cache)
        assert abs(float(loss) - expected.item()) < SAME * expected.item()
        for name, parameter in zip(("centre", "context"), tables):
            assert relative_error(model.params.grad_of(name), parameter.grad.numpy()) < SAME
        ours.step(0.01)
        theirs.step()
        for name, parameter in zip(("centre", "context"), tables):
            assert relative_error(model.params[name], parameter.detach().numpy()) < SAME
