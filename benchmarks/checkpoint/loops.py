"""The owner's training procedure, and the loops of others who begin with the same
checkpoint, or with nothing."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.checkpoint.nets import LITE, build
from benchmarks.foreign.augment import batches, holed, mirrored, shifted, unit


def owners(images: Tensor, labels: Tensor, seed: int, classes: int) -> nn.Module:
    """The victim's: all layers by AdamW on one cycle, images moved and mirrored, three epochs."""
    torch.manual_seed(seed)
    model, epochs, size = build(LITE, classes), 3, 50
    groups = [{"params": model[:-1].parameters(), "lr": 3e-4}, {"params": model[-1].parameters(), "lr": 3e-3}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [3e-4, 3e-3], total_steps=epochs * (len(images) // size), pct_start=0.2
    )
    for _ in range(epochs):
        for batch in batches(len(images), size):
            loss = F.cross_entropy(model(unit(mirrored(shifted(images[batch], 4)))), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
    return model.eval()


@dataclass(frozen=True)
class Loop:
    """Another way to train.

    Attributes:
        frozen: share of the checkpoint's blocks, from the first, that do not learn; 1
            leaves the last layer alone.
        hole: side of a grey square in each image, 0 for none.
    """

    optimiser: str
    rate: float
    epochs: int
    size: int = 64
    frozen: float = 0.0
    smoothing: float = 0.0
    hole: int = 0
    mirror: bool = True


LOOPS = {
    "sgd": Loop("SGD", 0.02, 4),
    "head": Loop("Adam", 3e-3, 5, frozen=1.0),
    "smoothed": Loop("AdamW", 2e-4, 3, smoothing=0.1, size=100),
    "half": Loop("SGD", 0.03, 4, frozen=0.5, size=40),
    "holed": Loop("RMSprop", 1e-4, 3, hole=16),
    "nadam": Loop("NAdam", 2e-4, 3, size=80, mirror=False),
    "fast": Loop("SGD", 0.05, 2, size=32),
    "slow": Loop("Adam", 5e-5, 4),
    "scratch": Loop("AdamW", 2e-3, 12, smoothing=0.05, hole=8),
    "scratch-sgd": Loop("SGD", 0.05, 12),
}


def trained(model: nn.Sequential, images: Tensor, targets: Tensor, how: Loop) -> nn.Module:
    """``model`` by one of the loops; targets are labels, or probabilities ``[n, K]`` that a
    thief was told."""
    freeze(model, how.frozen)
    learning = [p for p in model.parameters() if p.requires_grad]
    extra = {"momentum": 0.9, "weight_decay": 1e-4} if how.optimiser == "SGD" else {}
    optimiser = getattr(torch.optim, how.optimiser)(learning, lr=how.rate, **extra)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, how.epochs * max(1, len(images) // how.size)
    )
    model.train()
    for _ in range(how.epochs):
        for batch in batches(len(images), how.size):
            x = mirrored(images[batch]) if how.mirror else images[batch]
            x = unit(holed(x, how.hole) if how.hole else x)
            loss = F.cross_entropy(model(x), targets[batch], label_smoothing=how.smoothing)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, 5.0)
            optimiser.step()
            decay.step()
    return model.requires_grad_(True).eval()


def freeze(model: nn.Sequential, share: float) -> None:
    """Keep the first ``share`` of the checkpoint's blocks as they are, with what comes before them."""
    if share == 1.0:
        model[:-1].requires_grad_(False)
    elif share:
        net = model[1].net
        for part in (net._conv_stem, net._bn0, *net._blocks[: round(share * len(net._blocks))]):
            part.requires_grad_(False)
