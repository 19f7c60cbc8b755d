"""What fine-tuning sentences and tokens have in common: a head on an encoder, seeded, and the plan
of an estimator's options.

The classifiers are in transformer.py and tagger.py, the training loop is in training.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from touchstone.models.encoder import (
    Encoder,
    device_of,
    load_model,
    precision_of,
)
from touchstone.models.threads import limit_threads
from touchstone.models.training import Plan

DROPOUT = 0.1
Model = TypeVar("Model", bound=nn.Module)

PREDICT_BATCH = 256  # most sentences at once; encoder.batch_tokens limits long ones


class Head(nn.Module):
    """A pretrained encoder under dropout and one new linear layer; what the layer sees,
    `forward` of a subclass says."""

    def __init__(self, encoder: Any, n_outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(encoder.config.hidden_size, n_outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)


def plan_of(estimator: Any) -> Plan:
    """Return the training plan of an estimator's options."""
    names = (
        "learning_rate",
        "epochs",
        "min_steps",
        "batch_size",
        "warmup",
        "weight_decay",
        "patience",
        "bucket",
    )
    return Plan(**{name: getattr(estimator, name) for name in names})


def prepare(estimator: Any) -> tuple[torch.device, str]:
    """Set the threads of an estimator and return its device and precision."""
    if estimator.threads is not None:
        limit_threads(estimator.threads)
    device = device_of(estimator.device)
    return device, precision_of(estimator.dtype, device)


def build_seeded(
    make: Callable[[Any, int], Model], encoder: Encoder, n_outputs: int, random_state: int
) -> Model:
    """Return `make(pretrained encoder, n_outputs)` with seeded new weights, leaving torch's own
    generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        return make(load_model(encoder), n_outputs)
