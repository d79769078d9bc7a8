"""The other side of the benchmark: the same GPT as a plain PyTorch module, with PyTorch's own fast paths."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.out = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gelu = config.gelu
        self.up = nn.Linear(config.n_embd, config.inner)
        self.down = nn.Linear(config.inner, config.n_embd)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate=self.gelu))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.n_embd, config.layer_norm_eps)
        self.attn = Attention(config)
        self.ln2 = nn.LayerNorm(config.n_embd, config.layer_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class TorchGPT(nn.Module):
    """A pre-norm GPT with a tied head and no dropout; its parameters have the names and shapes of scratchgpt's."""

    def __init__(self, config):
        super().__init__()
        self.wte = nn.Parameter(torch.empty(config.vocab_size, config.n_embd))
        self.wpe = nn.Parameter(torch.empty(config.n_ctx, config.n_embd))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_eps)

    @classmethod
    def like(cls, model):
        """A copy of a scratchgpt GPT: the same weights, the same dtype."""
        weights = {name: torch.from_numpy(array) for name, array in model.params.to_dict().items()}
        twin = cls(model.config).to(weights["wte"].dtype)
        twin.load_state_dict(weights)
        return twin

    def forward(self, ids):
        """The mean loss of predicting ids[:, 1:] from ids[:, :-1], ids (B, T + 1)."""
        x = F.embedding(ids[:, :-1], self.wte) + self.wpe[: ids.shape[1] - 1]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def adamw(model, lr):
    """PyTorch's fused AdamW with the settings of scratchgpt.optim.AdamW: decay on matrices only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
