"""Whether a suspect is asked in the right way: how many of the control questions, images of the victim's
task, it gets right."""

from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor

from zooaudit.verdict.class_order import POORER
from zooaudit.verdict.grouping import groups
from zooaudit.verdict.twin_test import TwinTest

CHANCE = 0.05
"""Probability of as many right answers by guessing, above which they are called no better than chance."""
BETTER = 0.2
"""How many more right answers, as a share, another contract must give to make sense of a suspect."""


@dataclass(frozen=True)
class Control:
    """The result of a suspect's answers to the control questions.

    Attributes:
        right: how many of them are right.
        asked: how many there are.
        classes: K.
        usual: the share that the poorest candidate or reference gets right, less a margin for chance.
    """

    right: int
    asked: int
    classes: int
    usual: float

    @property
    def share(self) -> float:
        return self.right / self.asked

    @property
    def at_chance(self) -> bool:
        """Whether guessing could do as well."""
        return float(binom.sf(self.right - 1, self.asked, 1 / self.classes)) > CHANCE

    @property
    def poor(self) -> bool:
        """Whether it is far worse than every model of the kit."""
        return self.share < self.usual

    def mended_by(self, other: "Control") -> bool:
        """Whether the answers by another contract make sense where these do not."""
        return self.poor and not other.at_chance and other.share >= self.share + BETTER


def control_questions(test: TwinTest) -> Tensor:
    """Float images ``[control questions, c, h, w]`` in [0, 1], the first that every suspect is asked."""
    return test.questions()[: test.control_questions]


def control(test: TwinTest, answers: Tensor) -> Control:
    """Evaluate answers ``[control questions or more, K]`` in the kit's order of classes."""
    labels, given = test.labels[: test.control_questions], answers[: test.control_questions].argmax(1)
    known = torch.cat([test.answers, test.reference_answers])[:, : test.control_questions]
    usual = float((known.argmax(-1) == groups(test.num_classes)[labels]).double().mean(-1).min()) - POORER
    return Control(int((given == labels).sum()), len(labels), test.num_classes, usual)
