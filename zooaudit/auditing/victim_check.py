"""Why a victim seems to have learnt nothing: find the one change to its contract, or the order of its
classes, that makes sense of it."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from zooaudit.data.batches import images_at_once
from zooaudit.data.images import ImageSet, to_unit
from zooaudit.errors import InputError
from zooaudit.suspects.contracted import Contracted
from zooaudit.suspects.load import Asked, Loaded
from zooaudit.suspects.variants import variants
from zooaudit.zoo.fit import accuracy

BATCH = 100
BETTER = 0.2
"""How much accuracy a change must add."""


def remedy(loaded: Loaded, asked: Asked, sample: ImageSet) -> str:
    """The flag that raises a victim's accuracy most on a sample of its test images, with that accuracy; ""
    without one."""
    device = sample.images.device
    now = accuracy(loaded.module.to(device), sample)
    found = [(now + BETTER, "")]
    for variant in variants(loaded, asked):
        try:
            reached = accuracy(variant.module.to(device), sample)
        except (InputError, RuntimeError):  # the model does not take such inputs
            continue
        found.append((reached, f"with {variant.flag}"))
    found.append(_ordered(loaded.module, sample))
    reached, flag = max(found, key=lambda one: one[0])
    return f"{flag} it reaches {reached:.3f} on {len(sample)} of them" if flag else ""


@torch.no_grad()
def _ordered(module: nn.Module, sample: ImageSet) -> tuple[float, str]:
    """The accuracy in the order of classes that fits best, and the flag for this order."""
    outputs = torch.cat(
        [module(to_unit(x)).cpu() for x in sample.images.split(images_at_once(sample.images.shape, BATCH))]
    )
    given, labels = outputs.argmax(1), sample.labels.cpu()
    counts = torch.zeros(outputs.shape[1], outputs.shape[1]).index_put_(
        (labels, given), torch.ones(len(given)), accumulate=True
    )
    columns = [int(c) for c in linear_sum_assignment(counts.numpy(), maximize=True)[1]]
    now = module.columns if isinstance(module, Contracted) and module.columns else range(len(columns))
    right = float(counts[range(len(columns)), columns].sum()) / len(given)
    return right, f"with --contract 'classes.columns={[now[c] for c in columns]}'"
