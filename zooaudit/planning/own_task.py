"""Facts that a recipe is made from: of the data, and of the user's own victim."""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.auditing.twin_questions import LEAST_POOL
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.data.on_disk import Images, in_memory
from zooaudit.errors import DataError, ModelError
from zooaudit.storage.models import OwnModel
from zooaudit.zoo.fit import accuracy
from zooaudit.zoo.own_training import train

MOST_LOOKED_AT = 5000
"""How many images the linear model is fitted on, and how many it is measured on."""
LINEAR_SIDE = 8
"""The side of the linear model's images, in pixels."""
LINEAR_STEPS = 200
LEAST_TRAIN = 40
"""With fewer training images, the half that a model gets is too little to learn from."""


@dataclass(frozen=True)
class DataFacts:
    """Facts of the data.

    Attributes:
        image: (channels, height, width).
        fewest, most: training images of the smallest and of the largest class.
        chance: test accuracy of always naming the test set's most frequent class, in [0, 1].
        linear: test accuracy of a linear model of images shrunk to 8 x 8, in [0, 1]; any net should reach it.
    """

    name: str
    train: int
    test: int
    image: tuple[int, int, int]
    classes: int
    fewest: int
    most: int
    chance: float
    linear: float

    @property
    def above_chance(self) -> float:
        """Two standard errors above chance; anything less may be luck."""
        return self.chance + 2 * (self.chance * (1 - self.chance) / self.test) ** 0.5


@dataclass(frozen=True)
class VictimFacts:
    """Facts of the user's own victim.

    Attributes:
        accuracy: on the test images, in [0, 1].
        twin_seconds, twin_accuracy: of one twin that was trained as a trial; None without one.
    """

    file: str
    parameters: int
    accuracy: float
    has_training: bool
    twin_seconds: float | None = None
    twin_accuracy: float | None = None


def look_at_data(dataset: Dataset) -> DataFacts:
    """Facts of the data.

    Raises:
        DataError: too few images or classes for any audit.
    """
    if dataset.num_classes < 2:
        raise DataError(f"{dataset.name} has {dataset.num_classes} class; expected at least 2")
    if len(dataset.train) < LEAST_TRAIN:
        raise DataError(
            f"{dataset.name} has {len(dataset.train)} training images; expected at least {LEAST_TRAIN}"
        )
    if len(dataset.test) < 2 * LEAST_POOL:
        raise DataError(
            f"{dataset.name} has {len(dataset.test)} test images; expected at least {2 * LEAST_POOL}:"
            " questions are taken from a half"
        )
    counts = torch.bincount(dataset.train.labels.cpu(), minlength=dataset.num_classes)
    tested = torch.bincount(dataset.test.labels.cpu(), minlength=dataset.num_classes)
    return DataFacts(
        name=dataset.name,
        train=len(dataset.train),
        test=len(dataset.test),
        image=dataset.image_shape,
        classes=dataset.num_classes,
        fewest=int(counts.min()),
        most=int(counts.max()),
        chance=float(tested.max()) / len(dataset.test),
        linear=linear_accuracy(dataset),
    )


def linear_accuracy(dataset: Dataset) -> float:
    """Test accuracy of a linear model of small images, in [0, 1]; the same every time."""
    parts = [_some(p) for p in (dataset.train, dataset.test)]
    x, tested = (_features(p.images) for p in parts)
    mean, std = x.mean(0), x.std(0).clamp(min=1e-3)
    x, tested = (x - mean) / std, (tested - mean) / std
    labels = parts[0].labels.cpu()
    weights = torch.zeros(x.shape[1], dataset.num_classes, requires_grad=True)
    bias = torch.zeros(dataset.num_classes, requires_grad=True)
    optimiser = torch.optim.AdamW([weights, bias], lr=0.05, weight_decay=0.1)
    for _ in range(LINEAR_STEPS):
        loss = F.cross_entropy(x @ weights + bias, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    hits = (tested @ weights + bias).argmax(1) == parts[1].labels.cpu()
    return float(hits.double().mean())


def _some(images: ImageSet) -> ImageSet:
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:MOST_LOOKED_AT]
    return images.take(chosen.to(images.labels.device))


def _features(images: Images) -> Tensor:
    height, width = (min(LINEAR_SIDE, n) for n in images.shape[2:])
    return F.adaptive_avg_pool2d(to_unit(in_memory(images).cpu()), (height, width)).flatten(1)


def look_at_victim(own: OwnModel, dataset: Dataset, data: DataFacts, trial: bool) -> VictimFacts:
    """Facts of the user's own victim.

    Args:
        trial: train one twin by the victim's own procedure, to measure its time and accuracy.

    Raises:
        ModelError: the victim cannot be loaded, or is no better than chance on this data; or the trial gave
            no twin.
    """
    module = own.load().to(dataset.test.images.device)
    reached = accuracy(module, dataset.test)
    if reached <= data.above_chance:
        raise ModelError(
            f"{own.path} reaches accuracy {reached:.3f} on the test images, where always naming the most"
            f" frequent class gives {data.chance:.3f}; expected more: is it the right model for this data,"
            " are inputs in [0, 1] what it expects, and is the order of classes the same?"
        )
    seconds, twin = _trial(own, dataset) if trial and own.training is not None else (None, None)
    return VictimFacts(own.path.name, parameters(module), reached, own.training is not None, seconds, twin)


def parameters(module: nn.Module) -> int:
    """The number of trainable parameters, also of an exported program."""
    return sum(p.numel() for p in module.parameters())


def _trial(own: OwnModel, dataset: Dataset) -> tuple[float, float]:
    assert own.training is not None
    started = time.perf_counter()
    trained = train(own.training, 0, dataset)
    seconds = time.perf_counter() - started
    if trained.module is None:
        raise ModelError(f"--try: the training procedure gave no twin: {trained.reason}")
    return seconds, accuracy(trained.module.to(dataset.test.images.device), dataset.test)
