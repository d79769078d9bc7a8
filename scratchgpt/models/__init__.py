"""One file per family of models; what they share stands in `scratchgpt.blocks`."""

IGNORED = -100  # a label with this value is not a target, as in PyTorch and Hugging Face
