"""Every published shape by its name, whatever its family."""

from scratchgpt.models import bert, gpt, llama, t5

FAMILIES = (gpt, bert, t5, llama)  # each has PRESETS, count_parameters(config) and training_flops_per_token(config)
SHAPES = {name: (family, config) for family in FAMILIES for name, config in family.PRESETS.items()}
