"""One file per family of models; what they share stands in `scratchgpt.blocks`."""

IGNORED = -100  # a label with this value is not a target, as in PyTorch and Hugging Face


def count_targets(labels):
    """How many targets labels (B, T) hold: those that are not ignored, without each row's first, which no position
    predicts."""
    return int((labels[:, 1:] != IGNORED).sum())
