"""Reference models: made by zooaudit's own code on purpose, as the auditor would make them."""

import dataclasses

import torch
from torch import nn

from benchmarks.foreign.data import Data, derive
from benchmarks.foreign.learners import imitate
from benchmarks.foreign.models import answers, reference_shape
from zooaudit.config import ExtractConfig, TrainConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Parent, Status, build
from zooaudit.zoo.spec import Group, ModelSpec, Role

IMAGES = 10_000
CLASSES = tuple("0123456789")


def dataset_of(data: Data) -> Dataset:
    """The owners' two thirds as zooaudit's own kind of data set."""
    test = ImageSet(data.natural, data.natural_labels)
    return Dataset(data.name, ImageSet(data.images, data.labels), test, CLASSES, "benchmarks.foreign")


def spec_of(data: Data, architecture: str, optimiser: str, index: int, role: Role) -> ModelSpec:
    """A trained model's spec; every second one mirrors and shifts its images."""
    epochs = 3 if data.name == "fashion-mnist" else 4
    training = TrainConfig(epochs=epochs, mirror=index % 2 == 1 and data.name == "cifar10", shift=index % 2)
    return ModelSpec(
        role=role, group=Group.SUSPECT, architecture=architecture, optimiser=optimiser, batch_size=(64, 128)[index % 2], data=data.name,
        data_fraction=IMAGES / len(data.images), seed=derive(data.name, "reference", role, index), training=training,
        shape=reference_shape(data.name), floor=0.3,
    )  # fmt: skip


def extraction_of(data: Data, attack: str, labels: str) -> ExtractConfig:
    """Attacks by zooaudit's own code, smaller than its recipes'."""
    more = 0 if data.name == "fashion-mnist" else 2
    seeds = 2500 if attack == "cloudleak" else 1500
    return ExtractConfig(attack, labels, seeds, 2, 2, 5 + more, augment=data.name == "cifar10")


def trained(data: Data, architecture: str, optimiser: str, index: int, stranger: bool = False) -> nn.Module:
    """A reference trained on labels, or the stranger that others are extracted from."""
    role = Role.OTHER_VICTIM if stranger else Role.HOMOLOGOUS
    return _built(spec_of(data, architecture, optimiser, index, role), data, None)


def extracted(
    data: Data, architecture: str, optimiser: str, index: int, parent: nn.Module, parent_index: int, attack: str, labels: str
) -> tuple[nn.Module, int]:
    """A reference extracted from a stranger by zooaudit's own attack, and how many images it asked about."""
    spec = spec_of(data, architecture, optimiser, index, Role.LOOK_ALIKE)
    split = derive(data.name, "reference", Role.OTHER_VICTIM, parent_index)
    extraction = extraction_of(data, attack, labels)
    spec = dataclasses.replace(spec, extraction=extraction, parent=f"stranger-{parent_index}", parent_split_seed=split)
    asked = extraction.seed_size * (3 if attack == "cloudleak" else 4)
    return _built(spec, data, parent), asked


def _built(spec: ModelSpec, data: Data, parent: nn.Module | None) -> nn.Module:
    built = build(spec, dataset_of(data), Parent(parent, 0.8) if parent else None)
    if built.record.status is Status.FAILED:
        raise ArithmeticError(f"{spec.id} did not learn: {built.record.reason}")
    model = build_architecture(spec.architecture, spec.shape)
    model.load_state_dict(built.weights)
    return model.eval()


def other_domain(data: Data, architecture: str, seed: int, parent: nn.Module, labels: str, epochs: int) -> nn.Module:
    """A reference fitted to a stranger's answers to images of another domain."""
    torch.manual_seed(seed)
    model = build_architecture(architecture, reference_shape(data.name))
    told = answers(parent, data.foreign_thief)
    return imitate(model, data.foreign_thief, told.argmax(1) if labels == "hard" else told, epochs)
