"""Batches and steps of a training that modifies a copy."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.config import ModifyConfig
from zooaudit.zoo import heartbeat
from zooaudit.zoo.fit import DivergedError

CLIP_NORM = 2.0


def batches(count: int, config: ModifyConfig, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(int(config.strength - config.start)):
        yield torch.randperm(count, generator=generator)[: config.batch_size]


def new_batches(count: int, config: ModifyConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches without repetition until all images had their turn."""
    size, left = min(config.batch_size, count), torch.empty(0, dtype=torch.int64)
    for _ in range(int(config.strength - config.start)):
        if len(left) < size:
            left = torch.randperm(count, generator=generator)
        yield left[:size]
        left = left[size:]


def step(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, labels: Tensor) -> None:
    stepped(model, optimiser, F.cross_entropy(model(x), labels))


def stepped(model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise DivergedError(f"loss is {loss.item()} while the model is modified")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimiser.step()
    heartbeat.beat()
