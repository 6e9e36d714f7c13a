"""Stolen weights averaged with those of another model that began with the same public checkpoint.

Models fine-tuned from one checkpoint lie in one basin of the loss, so weights between theirs still work
(model soups, Wortsman et al., ICML 2022). BatchNorm's statistics are not weights: they are measured again on
the thief's images.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zooaudit.data.images import ImageSet, to_unit
from zooaudit.errors import ModelError

BATCH = 300
"""How many images at a time BatchNorm's statistics are measured on."""


def averaged(model: nn.Module, other: nn.Module, share: float, images: ImageSet) -> nn.Module:
    """``model`` with ``share`` of its own weights and the rest of ``other``'s, in place.

    Raises:
        ModelError: the two models' weights differ in names or shapes.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    shapes = [{name: tuple(t.shape) for name, t in weights.items()} for weights in (ours, theirs)]
    if shapes[0] != shapes[1]:
        odd = sorted(n for n in shapes[0].keys() | shapes[1].keys() if shapes[0].get(n) != shapes[1].get(n))
        raise ModelError(
            f"weights cannot be averaged: {odd[0]} is {shapes[0].get(odd[0])} in one model and"
            f" {shapes[1].get(odd[0])} in other"
        )
    model.load_state_dict({name: _between(ours[name], theirs[name], share) for name in ours})
    _measure_again(model, images)
    return model


def _between(ours: Tensor, theirs: Tensor, share: float) -> Tensor:
    return ours * share + theirs * (1 - share) if ours.is_floating_point() else ours


@torch.no_grad()
def _measure_again(model: nn.Module, images: ImageSet) -> None:
    """Measure BatchNorm's statistics again, as plain averages over batches; all other layers are in
    evaluation mode."""
    norms = [m for m in model.eval().modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in torch.arange(len(images), device=images.labels.device).split(BATCH) if norms else ():
        if len(batch) > 1:
            model(to_unit(images.images[batch]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
