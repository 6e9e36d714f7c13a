"""The accuracy of each model in a verdict on the same test images: a checker sees whether references are as
good as the suspect, and whether the victim resembles its twins."""

import torch
from torch import Tensor

from zooaudit.evidence.checks import Finding
from zooaudit.evidence.packs import Opened
from zooaudit.verdict.examined import NATURAL
from zooaudit.verdict.grouping import grouped, groups
from zooaudit.verdict.twin_test import TwinTest


def accuracies(opened: Opened, by_kits: TwinTest, by_theirs: TwinTest | None) -> Finding:
    """A finding that is only reported: the rank among twins is valid for a suspect and references of any
    accuracy.

    Args:
        by_kits: the kit's test with the victim and fresh twins.
        by_theirs: the same with the checker's references; None without any.
    """
    test, asked = opened.kit.twin_test, len(opened.answers)
    rows = [i for i, family in enumerate(test.families[:asked]) if family == NATURAL]
    if not rows:
        return Finding("accuracies", None, "the suspect was asked no image of the victim's task")

    truth = groups(test.num_classes)[test.labels[rows]]

    def on(answers: Tensor) -> list[float]:
        return [float(x) for x in (answers[..., rows, :].argmax(-1) == truth).double().mean(-1).reshape(-1)]

    comparable = opened.answers.shape[-1] == test.num_classes
    entries = [
        ("the suspect", on(grouped(opened.answers)) if comparable else []),
        ("the victim", on(test.answers[:1])),
        ("the kit's twins", on(test.answers[1:])),
        ("fresh twins", on(by_kits.answers[1:])),
        ("the kit's references", on(test.reference_answers)),
        ("the checker's references", on(by_theirs.reference_answers) if by_theirs else []),
    ]
    return Finding(
        "accuracies",
        None,
        f"on {len(rows)} test images: " + "; ".join(_shown(who, values) for who, values in entries if values),
    )


def _shown(who: str, values: list[float]) -> str:
    if len(values) == 1:
        return f"{who} {values[0]:.2f}"
    middle = float(torch.tensor(values).median())
    return f"{who} {min(values):.2f} to {max(values):.2f}, median {middle:.2f} ({len(values)})"
