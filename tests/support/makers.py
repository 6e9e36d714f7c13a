"""Small real parts for tests: specs, images, files, artifacts."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

from zooaudit.config import ExtractConfig, TrainConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.verdict.examined import NATURAL, Candidate, Reference
from zooaudit.verdict.predicted import predicted
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.vision_nets import WIDTH_STEPS

FAST = TrainConfig(epochs=2, precision="float32")
ATTACK = ExtractConfig(seed_size=40, rounds=1, round_epochs=1, final_epochs=2)


def shape_of(dataset: Dataset, widths: tuple[int, ...] = (4, 8), hidden: int = 16) -> ModelShape:
    mean, std = dataset.channel_stats
    return ModelShape(dataset.image_shape, dataset.num_classes, mean, std, widths, hidden)


def trained_spec(dataset: Dataset, **changes: Any) -> ModelSpec:
    """A spec of a homologous model that trains in a fraction of a second."""
    fields: dict[str, Any] = {
        "role": Role.HOMOLOGOUS,
        "group": Group.SUSPECT,
        "architecture": "C",
        "optimiser": "sgd",
        "batch_size": 32,
        "data": dataset.digest,
        "data_fraction": 0.5,
        "seed": 7,
        "training": FAST,
        "shape": shape_of(dataset),
        "floor": 0.0,
    }
    return ModelSpec(**(fields | changes))


def extracted_spec(dataset: Dataset, parent: ModelSpec, **changes: Any) -> ModelSpec:
    """A spec of a model extracted from ``parent``."""
    fields: dict[str, Any] = {
        "role": Role.PIRACY,
        "extraction": ATTACK,
        "parent": parent.id,
        "parent_split_seed": parent.seed,
    }
    return trained_spec(dataset, **(fields | changes))


def narrowest(
    name: str, image: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10, width: int = 0
) -> ModelShape:
    """The shape of a torchvision net of the least width there is, or of ``width``."""
    blank = (0.5,) * image[0]
    return ModelShape(image, num_classes, blank, blank, (width or WIDTH_STEPS[name],), 1)


class Affine(nn.Module):
    """Logits ``W x + b``: DeepFool and boundaries have closed forms."""

    def __init__(self, inputs: int = 16, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.linear = nn.Linear(inputs, classes)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(classes, inputs, generator=generator))
            self.linear.bias.copy_(torch.randn(classes, generator=generator) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([m.weight.flatten() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)])


def peer(seed: int, own: float = 0.6) -> Affine:
    """A model of one task, which all peers share, with something of its own."""
    model, quirk = Affine(seed=999), Affine(seed=seed)
    with torch.no_grad():
        for weights, extra in zip(model.parameters(), quirk.parameters(), strict=True):
            weights.add_(own * extra)
        # Of images around 0.5, no class is the usual answer.
        model.linear.bias.sub_(model.linear.weight.sum(1) / 2)
    return model


def near(seed: int, copy: int, apart: float = 0.15) -> Affine:
    """A copy of ``peer(seed)``: its weights with a little noise."""
    model, noise = peer(seed), torch.Generator().manual_seed(1000 * seed + copy)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(apart * torch.randn(weights.shape, generator=noise))
    return model


CHECKS, QUESTIONS = 20, 120
LOOKS = (40, 80, 120)
TWIN_SEEDS, REFERENCE_SEEDS = range(10, 1000), range(1000, 2000)
"""A test's own innocent models are peers of seeds beyond these."""


def make_twin_test(level: float = 0.05, twins: int = 19, references: int = 16, **changes: Any) -> TwinTest:
    """A twin test of ``peer(0)`` for 4 x 4 images and four classes; its twins are other peers, its references
    peers with more of their own.

    ``near(0, k)`` are stolen from it, ``peer(s)`` with s from 2000 on are innocent.
    """
    images = torch.randint(
        0, 256, (QUESTIONS, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )

    def asked(models: list[Affine], questions: Tensor | None = None) -> Tensor:
        given = [TorchBlackBox(m, 4).ask(to_unit(images) if questions is None else questions) for m in models]
        return torch.stack(given) if given else torch.empty(0, len(images), 4)

    def behind(models: list[Affine]) -> Tensor:
        return torch.stack([asked(models, t.questions(to_unit(images))) for t in TREATMENTS])

    labels = peer(999, 0.0)(to_unit(images)).argmax(1)
    candidates = [peer(0), *(peer(s) for s in TWIN_SEEDS[:twins])]
    answers = asked(candidates)
    accuracy = (answers.argmax(-1) == labels).double().mean(-1).tolist()
    names = ["victim", *(f"twin-{i}" for i in range(1, twins + 1))]
    others = [peer(s, 0.8) for s in REFERENCE_SEEDS[:references]]
    found = TwinTest(
        images,
        labels,
        (NATURAL,) * QUESTIONS,
        CHECKS,
        LOOKS,
        level,
        tuple(Candidate(n, a) for n, a in zip(names, accuracy, strict=True)),
        answers,
        tuple(Reference(f"reference-{i}", "trained") for i in range(references)),
        asked(others),
        "peers of the victim",
        behind(candidates),
        behind(others),
    )
    if others:  # every question is an image of the task, and there are no more of these
        found = replace(
            found,
            predicted=predicted(answers, found.reference_answers, torch.arange(QUESTIONS)),
            lessons=asked(others),
        )
    return replace(found, **changes)


def pixels(count: int = 12, channels: int = 1, size: int = 8, seed: int = 0) -> np.ndarray:
    """Random uint8 ``[count, channels, size, size]``."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    """PNG bytes of uint8 ``[channels, h, w]``, one channel or three."""
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(
    path: Path,
    images: list[Any],
    labels: list[Any],
    metadata: str | None = None,
    image_type: pa.DataType = IMAGE_TYPE,
    label_type: pa.DataType | None = None,
) -> Path:
    """A Parquet file of the Hugging Face image convention; ``images`` are bytes, or rows as they stand."""
    rows = [{"bytes": i, "path": None} if isinstance(i, bytes) else i for i in images]
    fields = [("image", image_type), ("label", label_type or pa.int64())]
    schema = pa.schema(fields, metadata={"huggingface": metadata} if metadata is not None else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": rows, "label": labels}, schema=schema), path)
    return path


def idx_bytes(array: np.ndarray) -> bytes:
    """MNIST's IDX format of a uint8 array."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> Path:
    """MNIST's four files; images uint8 ``[n, h, w]``."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in (("train", train), ("t10k", test)):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


def cifar_files(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary version with three images a file: the fifteen for training, then the three for
    testing, and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = pixels(18, channels=3, size=32, seed=6), np.arange(18) % 10
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, rows in zip(names, np.split(np.arange(18), 6), strict=True):
        records = [bytes([labels[i]]) + images[i].tobytes() for i in rows]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    (folder / "batches.meta.txt").write_text("\n".join(classes) + "\n\n")
    return images, labels
