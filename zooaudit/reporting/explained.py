"""Why one suspect got its decision, as plain values: candidates in order, looks, the questions that weighed
most, what is missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.suspects.access import Access
from zooaudit.verdict import wording
from zooaudit.verdict.decision import NOT_NORMAL, Decision, TwinVerdict, cannot_tell, decide
from zooaudit.verdict.examined import NO_CLASS
from zooaudit.verdict.grouping import grouped, named_groups
from zooaudit.verdict.ranking import ranked
from zooaudit.verdict.registry import STATISTICS
from zooaudit.verdict.several import corrected
from zooaudit.verdict.twin_test import TwinTest


@dataclass(frozen=True)
class Placed:
    """A candidate and its statistic at the look that places the victim, in standard
    deviations of all candidates."""

    id: str
    statistic: float
    victim: bool


@dataclass(frozen=True)
class Look:
    """After so many questions: the victim's statistic, and the twin that has the largest."""

    queries: int
    victim: float
    best_twin: str
    best: float


@dataclass(frozen=True)
class Said:
    """One class and its probability, in [0, 1]."""

    label: str
    probability: float


@dataclass(frozen=True)
class Question:
    """One image and what it was answered: the two likeliest classes each, or groups of classes where these
    are too many to be compared one by one; of the suspect's answer as far as its interface tells.

    Attributes:
        index: of the kit's questions, from 0, in the order in which they are asked.
        true_class: "" of an image that has none.
        share: of what all questions weigh, whichever way they point; negative where it
            speaks against the victim.
        twins: of the mean of the twins' answers.
    """

    index: int
    family: str
    true_class: str
    share: float
    victim: tuple[Said, ...]
    suspect: tuple[Said, ...]
    twins: tuple[Said, ...]


@dataclass(frozen=True)
class Explanation:
    """All that is to be said of one verdict.

    Attributes:
        candidates: the largest statistic first; empty where nothing was ranked.
        leads: whether the victim is ahead of the mean of its twins at the last look, by the family of
            questions that speaks most for it.
        questions: those that weighed most, for the victim or against it, most first; empty where nothing was
            ranked or no question has a weight.
        decided_by: the functions that made statistic and decision, as ``module:function``.
        abstained: what is not said, and why.
    """

    verdict: TwinVerdict
    candidates: tuple[Placed, ...]
    looks: tuple[Look, ...]
    leads: bool
    questions: tuple[Question, ...]
    decided_by: tuple[str, ...]
    abstained: tuple[str, ...]


def explained(
    test: TwinTest,
    answers: Tensor,
    access: Access,
    verdict: TwinVerdict,
    classes: Sequence[str],
    questions: int = 10,
    together: int = 1,
) -> Explanation:
    """Why ``verdict`` came of ``answers``.

    Args:
        answers: the suspect's, float32 ``[n, K']``, to the first n questions of ``test``,
            which ends at a look if it was judged.
        access: how they were read.
        classes: names of the kit's classes.
        questions: how many are shown at most.
        together: suspects that were judged at once, so that p-values were corrected.
    """
    by_columns = answers.shape[1] == test.num_classes
    was_ranked = verdict.rank is not None
    looks = _looks(test, answers, access, verdict.budget) if was_ranked else ()
    shares = test.weights(answers, access, len(answers)) if was_ranked and by_columns else np.empty(0)
    shown = tuple(
        _question(test, answers, classes, int(i), shares[i])
        for i in np.argsort(-np.abs(shares), kind="stable")[:questions]
    )
    return Explanation(
        verdict,
        _placed(test, verdict) if was_ranked else (),
        looks,
        float(shares.sum()) > 0,
        shown,
        _decided_by(test, was_ranked, together),
        tuple(_abstained(test, answers, verdict, by_columns)),
    )


def plain(explanation: Explanation) -> dict[str, Any]:
    """As strict JSON holds it."""
    return asdict(explanation) | {"verdict": wording.facts(explanation.verdict)}


def _placed(test: TwinTest, verdict: TwinVerdict) -> tuple[Placed, ...]:
    rows = [
        Placed(c.id, t, i == 0)
        for i, (c, t) in enumerate(zip(test.candidates, verdict.statistics, strict=True))
    ]
    return tuple(sorted(rows, key=lambda r: -r.statistic))


def _looks(test: TwinTest, answers: Tensor, access: Access, horizon: int) -> tuple[Look, ...]:
    found = []
    for queries in test.stops(horizon):
        if queries <= len(answers):
            statistics = test.statistics(answers[:queries], access, queries)
            best = 1 + int(statistics[1:].argmax())
            found.append(
                Look(queries, float(statistics[0]), test.candidates[best].id, float(statistics[best]))
            )
    return tuple(found)


def _question(test: TwinTest, answers: Tensor, classes: Sequence[str], i: int, share: float) -> Question:
    label = int(test.labels[i])
    names = named_groups(classes)
    victim, suspect, twins = (
        _said(row, names) for row in (test.answers[0, i], grouped(answers[i]), test.answers[1:, i].mean(0))
    )
    return Question(
        i, test.families[i], "" if label == NO_CLASS else classes[label], float(share), victim, suspect, twins
    )


def _said(answer: Tensor, classes: Sequence[str]) -> tuple[Said, ...]:
    """The likeliest two of ``[K]`` that have any probability."""
    probabilities, rows = answer.topk(2)
    return tuple(Said(classes[int(r)], float(p)) for p, r in zip(probabilities, rows, strict=True) if p > 0)


def _decided_by(test: TwinTest, was_ranked: bool, together: int) -> tuple[str, ...]:
    used = [STATISTICS[test.statistic].of, ranked, decide] if was_ranked else [cannot_tell]
    return tuple(f"{f.__module__}:{f.__qualname__}" for f in [*used, *([corrected] if together > 1 else [])])


def _abstained(test: TwinTest, answers: Tensor, verdict: TwinVerdict, by_columns: bool) -> list[str]:
    """What the verdict does not say, a line each."""
    if verdict.rank is None:
        return [f"any decision: {verdict.reason}"]
    found = [f"the decision: {verdict.reason}"] if verdict.decision is Decision.CANNOT_TELL else []
    if verdict.decision is Decision.NOT_SHOWN:
        found.append("innocence: that theft is not shown does not rule it out")
    if verdict.by == "rank":
        found.append(_beyond_rank(verdict))
    if verdict.queries < verdict.budget:
        why = (
            "no answer to them could change the decision"
            if verdict.settled
            else "they have not been asked yet"
        )
        found.append(f"the other {verdict.budget - verdict.queries} questions: {why}")
    if not by_columns:
        what = f"the suspect has {answers.shape[1]} classes, the victim {test.num_classes}"
        found.append(
            f"weights of single questions: {what}, so the answers to each two questions are compared, not"
            " class by class"
        )
    return found


def _beyond_rank(verdict: TwinVerdict) -> str:
    """Why no p-value under the rank's floor is claimed."""
    claim = f"a p-value under {verdict.smallest_p:.2g}, the least that a rank among {verdict.twins + 1} gives"
    if verdict.normal is None:
        return f"{claim}: there are too few twins for another"
    if verdict.normal.normality < NOT_NORMAL:
        return f"{claim}: the twins' statistics do not look normal (p {verdict.normal.normality:.2g})"
    other = f"the {verdict.normal.p_value:.2g} of a normal distribution"
    return f"{claim}: {other} was not asked for, and rests on the twins' statistics being normal"
