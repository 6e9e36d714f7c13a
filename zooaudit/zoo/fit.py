"""The training loop: batches from tensors that are already on the device, without worker processes."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.compute import autocast, seeded
from zooaudit.config import Optimiser, TrainConfig
from zooaudit.data.augment import Draws, augment
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import ImageSet, to_unit
from zooaudit.data.on_disk import Images, ahead
from zooaudit.errors import ConfigError
from zooaudit.seeds import derive
from zooaudit.zoo import heartbeat
from zooaudit.zoo.ranks import ALONE, Ranks

REFERENCE_BATCH = 128
EVALUATION_BATCH = 500


class DivergedError(ArithmeticError):
    """The loss is no longer finite."""


def fit(
    model: nn.Module,
    images: Images,
    targets: Tensor,
    *,
    optimiser: Optimiser,
    batch_size: int,
    training: TrainConfig,
    epochs: int,
    seed: int,
    ranks: Ranks = ALONE,
) -> None:
    """Train ``model`` in place by cross-entropy, with warm-up, then decay to zero.

    Args:
        images: uint8 ``[n, c, h, w]`` on the model's device.
        targets: int64 labels ``[n]``, or float probabilities ``[n, K]`` (soft labels of an extraction).
        seed: order of the batches, augmentation and dropout.
        ranks: the processes that train this model together, with the same arguments, from the same weights.
            The steps equal those of one process to rounding, except that each rank draws dropout's masks and
            computes BatchNorm's statistics for its own share.

    Raises:
        ConfigError: more ranks than a batch has images.
        DivergedError: the loss became NaN or infinite.
    """
    batch_size = min(batch_size, len(images))
    if ranks.count > batch_size:
        raise ConfigError(
            f"{ranks.count} workers cannot share batches of {batch_size} images; expected {batch_size}"
            " workers at most"
        )
    per_epoch = len(images) // batch_size
    generator = torch.Generator().manual_seed(derive(seed, "order"))
    model.to(memory_format=torch.channels_last)
    model.train()
    joined = ranks.joined(model)
    stepper, schedule = make_optimiser(model, optimiser, batch_size, training, epochs * per_epoch)
    with seeded(derive(seed, "dropout", *([ranks.rank] if ranks.rank else [])), images.device):
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=generator).to(images.device)
            loss = torch.zeros((), device=images.device)
            for x, labels, weight in _shares(
                images, targets, order[: per_epoch * batch_size].split(batch_size), training, generator, ranks
            ):
                with autocast(training.precision, images.device):
                    logits = joined(x)
                loss = F.cross_entropy(logits.float(), labels) * weight
                stepper.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm, foreach=True)
                stepper.step()
                heartbeat.beat()
                schedule.step()
            last = ranks.mean(loss.detach()).item()  # all ranks see the same and stop together
            if not math.isfinite(last):
                raise DivergedError(f"loss is {last} after an epoch ({optimiser}, batch {batch_size})")
    ranks.settle(model)
    model.eval()


def _shares(
    images: Images,
    targets: Tensor,
    batches: Sequence[Tensor],
    training: TrainConfig,
    generator: torch.Generator,
    ranks: Ranks,
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """This rank's share of each batch: augmented images in [0, 1], targets, and the weight of the share's
    mean loss. With it an image counts the same in a share that is one larger."""
    shares = [ranks.share(batch) for batch in batches]
    for batch, mine, pixels in zip(batches, shares, ahead(images, shares), strict=True):
        drawn = Draws.make(len(batch), training.mirror, training.shift, training.crop, generator)
        x = augment(to_unit(pixels), drawn.share(ranks.share))
        yield x, targets[mine], len(mine) * ranks.count / len(batch)


def make_optimiser(
    model: nn.Module, name: Optimiser, batch_size: int, training: TrainConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The named optimiser at the learning rate for this batch size, and its schedule over ``steps``."""
    scale = math.sqrt(batch_size / REFERENCE_BATCH)
    parameters = list(model.parameters())
    optimiser: torch.optim.Optimizer
    if name == "sgd":
        optimiser = torch.optim.SGD(
            parameters,
            training.lr_sgd * scale,
            training.momentum,
            weight_decay=training.weight_decay_sgd,
            nesterov=True,
            fused=True,
        )
    elif name == "adam":
        optimiser = torch.optim.Adam(parameters, training.lr_adam * scale, fused=True)
    else:
        optimiser = torch.optim.RMSprop(parameters, training.lr_rmsprop * scale, foreach=True)
    decay = DECAYS[training.schedule]
    factor = functools.partial(
        _warm_up_then_decay, warm=max(1.0, steps * training.warmup_fraction), steps=steps, decay=decay
    )
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _linear(left: float) -> float:
    return left


def _cosine(left: float) -> float:
    return (1 - math.cos(math.pi * min(1.0, left))) / 2


DECAYS = {"linear": _linear, "cosine": _cosine}
"""From the share of the steps after the warm-up that is left, to the share of the largest learning rate."""


def _warm_up_then_decay(step: int, warm: float, steps: int, decay: Callable[[float], float]) -> float:
    return min((step + 1) / warm, decay(max(0.0, steps - step) / max(1.0, steps - warm)))


@torch.no_grad()
def agreement(model: nn.Module, other: nn.Module, images: ImageSet) -> tuple[float, float | None]:
    """Share of the images to which both give one label, in [0, 1]; and of those that ``other`` gets wrong,
    None if it gets all right."""
    model.eval()
    other.eval()
    same = wrong = same_wrong = 0
    for x, y in _batches(images):
        ours, theirs = model(to_unit(x)).argmax(1), other(to_unit(x)).argmax(1)
        same += int((ours == theirs).sum())
        wrong += int((theirs != y).sum())
        same_wrong += int(((ours == theirs) & (theirs != y)).sum())
    return same / len(images), same_wrong / wrong if wrong else None


@torch.no_grad()
def accuracy(model: nn.Module, images: ImageSet) -> float:
    """Top-1 accuracy in [0, 1], in float32."""
    model.eval()
    hits = 0
    for x, y in _batches(images):
        hits += int((model(to_unit(x)).argmax(1) == y).sum())
    return hits / len(images)


def _batches(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    size = images_at_once(images.images.shape, EVALUATION_BATCH)
    return zip(images.images.split(size), images.labels.split(size), strict=True)
