"""Finetuning: a pretrained model learns a task from labelled examples (Radford et al. 2018; Devlin et al. 2019).

inputs.py      texts laid out as each family reads them
coders.py      examples to batches, and what a head says back to predictions
loop.py        training, early stopping, the best weights
predicting.py  a finetuned model's predictions
run.py         the directory of a finetuned model
command.py, predict_command.py   scratchgpt finetune, scratchgpt predict

>>> from scratchgpt.finetuning import FinetuneConfig, finetune               # doctest: +SKIP
>>> result = finetune(model, tokenizer, train, validation, "sentence")       # doctest: +SKIP
>>> result.metrics                                                           # doctest: +SKIP
{'accuracy': 0.81, 'macro F1': 0.80}
"""

from scratchgpt.finetuning.coders import Prediction, Settings
from scratchgpt.finetuning.loop import FinetuneConfig, Finetuner, Result, finetune, fresh
from scratchgpt.finetuning.predicting import predict

__all__ = ["FinetuneConfig", "Finetuner", "Prediction", "Result", "Settings", "finetune", "fresh", "predict"]
