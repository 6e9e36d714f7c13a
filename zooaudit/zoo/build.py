"""Build one model from its spec: train or extract, measure, retry once, or mark failed."""

import dataclasses
import functools
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.compute import resolve_precision, seeded
from zooaudit.config import ExtractConfig, OwnTraining
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.on_disk import Images
from zooaudit.data.splits import complement, overlapping_part, own_set, random_part, seed_set, tuning_part
from zooaudit.data.textures import textures
from zooaudit.seeds import derive
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.contracted import bare
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.attacks.extract import extract
from zooaudit.zoo.fit import DivergedError, accuracy, agreement, fit
from zooaudit.zoo.modify import TUNED, modify
from zooaudit.zoo.own_training import train
from zooaudit.zoo.ranks import ALONE, Ranks
from zooaudit.zoo.spec import OWN, ModelSpec
from zooaudit.zoo.start import begun
from zooaudit.zoo.transferred import of_kept

ATTEMPTS = 2


class Status(StrEnum):
    """Whether a model learnt its task. A failed one is kept for the record but enters no statistic."""

    LEARNT = "learnt"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelRecord:
    """The record of a finished model."""

    status: Status
    accuracy: float
    """Top-1 on the test set, in [0, 1]."""
    recovery_rate: float | None
    """Accuracy over the parent's accuracy; None for a model that is not extracted."""
    queries: int
    """Images that the parent was asked to label."""
    seconds: float
    attempts: int
    precision: str
    reason: str = ""
    """Why it failed."""
    agreement: float | None = None
    """Share of the test images to which it gives its parent's label; None for a model without a parent."""
    agreement_on_errors: float | None = None
    """The same among images that its parent gets wrong: shows what came from the parent rather than from the
    task."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "ModelRecord":
        return ModelRecord(**(raw | {"status": Status(raw["status"])}))


@dataclass(frozen=True, eq=False)
class Parent:
    """The model that a spec is extracted from or modifies, and its test accuracy."""

    module: nn.Module
    accuracy: float


@dataclass(frozen=True, eq=False)
class BuiltModel:
    """A finished model: its spec, its weights (contiguous CPU tensors by name) and its record."""

    spec: ModelSpec
    weights: dict[str, Tensor]
    record: ModelRecord
    log: bytes = b""
    """What the owner's own training procedure printed."""


def build(spec: ModelSpec, dataset: Dataset, parent: Parent | None, ranks: Ranks = ALONE) -> BuiltModel:
    """Train the model that ``spec`` names, deterministically; if it did not learn, once more with a derived
    seed.

    The owner's own procedure has no second attempt, since we only know that its code takes a seed.

    Args:
        dataset: on the device to train on.
        parent: required if ``spec.parent`` is set.
        ranks: the processes that build this model together, for a spec without a parent; all get the same
            weights.
    """
    if spec.own_training is not None:
        return _build_own(spec, spec.own_training, dataset)
    started = time.perf_counter()
    queries, reason = 0, ""
    for attempt in range(1, ATTEMPTS + 1):
        seed = spec.seed if attempt == 1 else derive(spec.seed, "attempt", attempt)
        model, asked, reason = _attempt(spec, seed, dataset, parent, ranks)
        queries += asked
        # On another kind of machine the result may differ, and with it everything that follows.
        reached = ranks.agreed(accuracy(model, held_out(spec, dataset)))
        recovery = reached / parent.accuracy if parent and spec.extraction else None
        reason = reason or _shortfall(spec, reached, recovery)
        if not reason:
            break
    alike, alike_wrong = agreement(model, parent.module, held_out(spec, dataset)) if parent else (None, None)
    record = ModelRecord(
        status=Status.FAILED if reason else Status.LEARNT,
        accuracy=reached,
        recovery_rate=recovery,
        queries=queries,
        seconds=round(time.perf_counter() - started, 3),
        attempts=attempt,
        precision=resolve_precision(spec.training.precision, dataset.test.images.device.type),
        reason=reason,
        agreement=alike,
        agreement_on_errors=alike_wrong,
    )
    return BuiltModel(spec, {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, record)


def training_half(spec: ModelSpec, train: ImageSet) -> Tensor:
    """Indices of the random part of the training images that a trained (not extracted) model sees; all of
    them for an own procedure."""
    if spec.own_training is not None:
        return torch.arange(len(train))
    seed = derive(spec.seed, "split")
    if spec.overlap is None:
        return random_part(len(train), spec.data_fraction, seed)
    taken = random_part(len(train), spec.data_fraction, derive(spec.overlap.split_seed, "split"))
    return overlapping_part(len(train), spec.data_fraction, taken, spec.overlap.share, seed)


def held_out(spec: ModelSpec, dataset: Dataset) -> ImageSet:
    """The images that a model's accuracy is measured on: the test images, without the half that thieves tune
    on if this model was tuned, and without classes that it does not know."""
    kind = spec.modification.kind if spec.modification is not None else ""
    if kind == "transfer":
        return of_kept(untuned(dataset), dataset.num_classes)
    return untuned(dataset) if kind in TUNED else dataset.test


def untuned(dataset: Dataset) -> ImageSet:
    """The half of the test images that no thief tunes on."""
    return dataset.test.take(complement(len(dataset.test), tuning_part(len(dataset.test))))


def _build_own(spec: ModelSpec, own: OwnTraining, dataset: Dataset) -> BuiltModel:
    """The model of the owner's own procedure; a failed run also gives a model with a record."""
    started = time.perf_counter()
    trained = train(own, spec.seed, dataset)
    reached, weights = 0.0, dict[str, Tensor]()
    if trained.module is not None:
        weights = {k: v.clone().contiguous() for k, v in bare(trained.module).state_dict().items()}
        reached = accuracy(trained.module.to(dataset.test.images.device), dataset.test)
    reason = trained.reason or _shortfall(spec, reached, None)
    status = Status.FAILED if reason else Status.LEARNT
    record = ModelRecord(status, reached, None, 0, round(time.perf_counter() - started, 3), 1, OWN, reason)
    return BuiltModel(spec, weights, record, trained.log)


def _attempt(
    spec: ModelSpec, seed: int, dataset: Dataset, parent: Parent | None, ranks: Ranks
) -> tuple[nn.Module, int, str]:
    device = dataset.train.images.device
    if spec.modification is not None:
        assert parent is not None, f"{spec.id} needs its parent"
        tuning = dataset.test.take(tuning_part(len(dataset.test)))
        checkpoint = functools.partial(begun, spec.start, spec.shape.num_classes) if spec.start else None
        try:
            return modify(parent.module, spec.modification, tuning, derive(seed, "modify"), checkpoint), 0, ""
        except DivergedError as error:
            return parent.module, 0, str(error)
    with seeded(derive(seed, "init"), device):
        model = (
            begun(spec.start, spec.shape.num_classes)
            if spec.start
            else build_architecture(spec.architecture, spec.shape)
        )
        model.to(device)
    victim = None
    try:
        if spec.extraction is None:
            part = dataset.train.take(training_half(spec, dataset.train))
            _fit(model, spec, part.images, part.labels, spec.training.epochs, seed, ranks)
            return model, 0, ""
        assert parent is not None, f"{spec.id} needs its parent"
        victim = TorchBlackBox(parent.module, dataset.num_classes, f"victim {spec.parent}")
        _extract(model, spec, seed, dataset, victim)
        return model, victim.queries, ""
    except DivergedError as error:
        return model.eval(), victim.queries if victim else 0, str(error)


def _extract(model: nn.Module, spec: ModelSpec, seed: int, dataset: Dataset, victim: TorchBlackBox) -> None:
    assert spec.extraction is not None
    images = _thiefs_images(spec, spec.extraction, dataset)

    def retrain(images: Tensor, targets: Tensor, epochs: int, round_: int) -> None:
        _fit(model, spec, images, targets, epochs, derive(seed, "round", round_))

    extract(model, victim, images, spec.extraction, retrain, spec.training.precision, seed)


def _thiefs_images(spec: ModelSpec, attack: ExtractConfig, dataset: Dataset) -> Tensor:
    """uint8 ``[n, c, h, w]`` on the data's device."""
    count, seed = attack.images_needed, derive(spec.seed, "seed-set")
    if attack.images == "textures":
        return textures(count, dataset.image_shape, seed).to(dataset.train.images.device)
    size = len(dataset.train)
    held = torch.empty(0, dtype=torch.int64)
    if spec.parent_split_seed is not None:
        held = random_part(size, spec.data_fraction, derive(spec.parent_split_seed, "split"))
    if attack.images == "own":  # for the user's own victim, all images of --data
        return dataset.train.images[own_set(held if len(held) else torch.arange(size), count, seed)]
    return dataset.train.images[seed_set(size, held, count, seed)]


def _fit(
    model: nn.Module,
    spec: ModelSpec,
    images: Images,
    targets: Tensor,
    epochs: int,
    seed: int,
    ranks: Ranks = ALONE,
) -> None:
    assert spec.optimiser != OWN, f"{spec.id} is trained by its owner's procedure"
    fit(
        model,
        images,
        targets,
        optimiser=spec.optimiser,
        batch_size=spec.batch_size,
        training=spec.training,
        epochs=epochs,
        seed=seed,
        ranks=ranks,
    )


def _shortfall(spec: ModelSpec, reached: float, recovery: float | None) -> str:
    """Why the model did not learn; "" if it did."""
    if recovery is None:
        return "" if reached >= spec.floor else f"accuracy {reached:.3f} is under the floor {spec.floor:g}"
    return "" if recovery >= spec.floor else f"recovery rate {recovery:.3f} is under the floor {spec.floor:g}"
