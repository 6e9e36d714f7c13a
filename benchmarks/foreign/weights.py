"""What a thief does to weights that he took: tune, prune, round, average."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foreign.augment import batches, mirrored, shifted, unit
from benchmarks.foreign.owners import colour


def tune(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    rate: float = 0.01,
    mask: dict[str, Tensor] | None = None,
) -> nn.Module:
    """Fine-tune all weights by SGD with momentum; weights that ``mask`` sets to zero stay there."""
    stepper = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    model.train()
    for epoch in range(epochs):
        stepper.param_groups[0]["lr"] = rate * (1 if epoch < epochs * 0.7 else 0.2)
        for batch in batches(len(images), 64):
            x = shifted(images[batch], 1)
            logits = model(unit(mirrored(x) if colour(x) else x))
            stepper.zero_grad()
            F.cross_entropy(logits, labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            stepper.step()
            if mask:
                _apply(model, mask)
    return model.eval()


def new_head(model: nn.Sequential) -> None:
    """Start the last layer afresh."""
    last = model[-1]
    assert isinstance(last, nn.Linear)
    last.reset_parameters()


def prune(model: nn.Module, share: float) -> dict[str, Tensor]:
    """Set the smallest ``share`` of each layer's weights to zero; says which are kept."""
    mask = {}
    for name, weight in _matrices(model):
        limit = weight.detach().abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
        mask[name] = weight.detach().abs() > limit
    _apply(model, mask)
    return mask


@torch.no_grad()
def int8(model: nn.Module) -> None:
    """Round the weights to 8 bits, symmetric, one scale for each output channel; they stay
    floats (fake quantisation)."""
    for _, weight in _matrices(model):
        scale = weight.abs().flatten(1).amax(1).clamp_min(1e-8).div(127).view(-1, *[1] * (weight.ndim - 1))
        weight.copy_((weight / scale).round().clamp(-127, 127) * scale)


@torch.no_grad()
def averaged(first: nn.Module, second: nn.Module, share: float, images: Tensor) -> nn.Module:
    """``share`` of the first's weights and the rest of the second's, BatchNorm's statistics
    measured on ``images``."""
    model, other = copy.deepcopy(first), second.state_dict()
    model.load_state_dict(
        {
            k: v * share + other[k] * (1 - share) if v.is_floating_point() else v
            for k, v in first.state_dict().items()
        }
    )
    measure_again(model, images)
    return model.eval()


@torch.no_grad()
def measure_again(model: nn.Module, images: Tensor) -> None:
    """BatchNorm's statistics measured afresh on ``images``, after the weights were changed
    without training."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over batches
    model.train()
    for part in images.split(300) if norms else ():
        model(unit(part))
    model.eval()


def _matrices(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((n, p) for n, p in model.named_parameters() if p.ndim in (2, 4))


@torch.no_grad()
def _apply(model: nn.Module, mask: dict[str, Tensor]) -> None:
    for name, weight in _matrices(model):
        weight.mul_(mask[name])
