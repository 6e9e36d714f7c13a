"""The UAP in pictures: what it looks like, and what it makes the victim say."""

import io
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zooaudit.data.images import to_unit
from zooaudit.kits.kit import Kit
from zooaudit.reporting.canvas import data_uri


@dataclass(frozen=True)
class Answer:
    """A label and the victim's confidence in it, in [0, 1]."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Example:
    """A datapoint whose label the UAP changes: x and x + v as data URIs, and what the victim says to each."""

    clean: str
    perturbed: str
    before: Answer
    after: Answer


def uap_picture(v: Tensor) -> str:
    """The perturbation ``[c, h, w]`` with its largest value stretched to black and white
    (or full colour), zero mid-grey."""
    return png(0.5 + 0.5 * v / v.abs().max().clamp(min=1e-12))


def examples(kit: Kit, classes: tuple[str, ...], most: int = 8) -> list[Example]:
    """Datapoints whose label changes, each of another class: the first one of each class,
    views in order, so none is hand-picked."""
    answers = kit.victim_answers.flatten(0, 1)
    before, after = answers[:, 0].argmax(1), answers[:, 1].argmax(1)
    chosen: dict[int, int] = {}
    for row in torch.nonzero(before != after).flatten().tolist():
        chosen.setdefault(int(before[row]), row)
    return [_example(kit, answers[row], row, classes) for _, row in sorted(chosen.items())[:most]]


def _example(kit: Kit, answer: Tensor, row: int, classes: tuple[str, ...]) -> Example:
    clean = to_unit(kit.points.flatten(0, 1)[row])
    confidence, label = answer.max(1)
    said = [Answer(classes[int(i)], float(c)) for i, c in zip(label, confidence, strict=True)]
    return Example(png(clean), png((clean + kit.v).clamp(0, 1)), said[0], said[1])


@dataclass(frozen=True)
class Effect:
    """What the UAP does to the victim's labels of the kit's datapoints.

    Attributes:
        changed: share of datapoints whose label changes, in [0, 1].
        commonest: the label that changed ones get most often; None if none changed.
        share: of the changed ones that get it.
    """

    changed: float
    commonest: str | None
    share: float


def effect(kit: Kit, classes: tuple[str, ...]) -> Effect:
    """Count label changes over all views."""
    before, after = kit.victim_answers.argmax(-1).flatten(0, 1).unbind(1)
    moved = after[before != after].tolist()
    if not moved:
        return Effect(0.0, None, 0.0)
    label, times = Counter(moved).most_common(1)[0]
    return Effect(len(moved) / len(before), classes[label], times / len(moved))


def png(image: Tensor) -> str:
    """An image ``[c, h, w]`` in [0, 1] as a PNG: RGB with three channels, else the grey mean of them."""
    plane = image.detach().cpu()
    pixels = plane.permute(1, 2, 0) if len(plane) == 3 else plane.mean(0)
    buffer = io.BytesIO()
    Image.fromarray((pixels.numpy() * 255).round().astype(np.uint8)).save(buffer, "png")
    return data_uri(buffer.getvalue(), "image/png")
