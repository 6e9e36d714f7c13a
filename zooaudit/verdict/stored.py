"""A twin test as a kit stores it: tensors, and everything else as JSON."""

from dataclasses import asdict
from typing import Any

from torch import Tensor

from zooaudit.verdict.examined import Candidate, Reference
from zooaudit.verdict.grouping import MOST
from zooaudit.verdict.registry import COSINE, STATISTICS
from zooaudit.verdict.twin_test import TwinTest

ANSWERS = (
    "test.candidates",
    "test.references",
    "test.behind",
    "test.reference_behind",
    "test.predicted",
    "test.lessons",
    "test.defended",
    "test.defended_predicted",
)
"""Stored in half precision if classes were grouped: they were rounded to it when they were asked."""


def tensors_of(test: TwinTest) -> dict[str, Tensor]:
    """Tensors by their names in a kit's file; missing ones are left out."""
    of = (
        test.answers,
        test.reference_answers,
        test.behind,
        test.reference_behind,
        test.predicted,
        test.lessons,
        test.defended,
        test.defended_predicted,
    )
    narrow = test.num_classes > MOST
    answers = {name: t.half() if narrow else t for name, t in zip(ANSWERS, of, strict=True) if t is not None}
    return {"test.images": test.images, "test.labels": test.labels} | answers


def described(test: TwinTest) -> dict[str, Any]:
    """Everything but the tensors, as the manifest holds it."""
    found = {
        "level": test.level,
        "control_questions": test.control_questions,
        "looks": list(test.looks),
        "families": list(test.families),
        "candidates": [asdict(c) for c in test.candidates],
        "references": [asdict(r) for r in test.references],
        "procedure": test.procedure,
        "accuses_nobody": test.barred(),
    }
    found |= {"statistic": test.statistic} if test.statistic != COSINE else {}
    return found | ({"classes": test.num_classes} if test.num_classes > MOST else {})


def read(tensors: dict[str, Tensor], meta: dict[str, Any]) -> TwinTest:
    """The test from the results of ``tensors_of`` and ``described``.

    Raises:
        KeyError, TypeError: these hold something else.
    """
    answers: list[Any] = [tensors[name].float() if name in tensors else None for name in ANSWERS]
    own, others, behind, others_behind, predicted, lessons, defended, defended_predicted = answers
    statistic = meta.get("statistic", COSINE)
    if statistic not in STATISTICS:
        raise KeyError(f"statistic {statistic}")
    return TwinTest(
        tensors["test.images"],
        tensors["test.labels"],
        tuple(meta["families"]),
        meta["control_questions"],
        tuple(meta["looks"]),
        meta["level"],
        tuple(Candidate(**c) for c in meta["candidates"]),
        own,
        tuple(Reference(**r) for r in meta["references"]),
        others,
        meta["procedure"],
        behind,
        others_behind,
        predicted,
        lessons,
        meta.get("classes", 0),
        statistic,
        defended,
        defended_predicted,
    )
