"""The decision on one suspect: stolen, not shown, or cannot tell and why. For several suspects that are
judged together, ``several.py`` compares the corrected p-values with the level again."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from zooaudit.errors import ConfigError
from zooaudit.verdict.ranking import NormalClaim, Ranking, smallest_p, twins_for

ONE_LABEL = 0.95
"""Answers that give this share of different images the same label count as degenerate."""
NOT_NORMAL = 0.05
"""A normal p-value is refused if the test of the twins' normality has a p-value below this."""
By = Literal["rank", "normal"]
P_VALUES: tuple[By, ...] = get_args(By)


class Decision(StrEnum):
    """The three possible decisions on a suspect."""

    STOLEN = "stolen"
    NOT_SHOWN = "not shown"
    """The evidence does not support an accusation; it never proves innocence."""
    CANNOT_TELL = "cannot tell"
    """The question was not answered: the twins or the suspect's answers do not allow it."""


@dataclass(frozen=True)
class Beyond:
    """A suspect compared with the references, if the victim resembles many models that were not made from it.

    Attributes:
        above: how many references, each with its own group left out, have as much of the victim as the
            suspect.
        references: how many there are.
    """

    above: int
    references: int

    @property
    def p_value(self) -> float:
        return (1 + self.above) / (self.references + 1)


@dataclass(frozen=True)
class TwinVerdict:
    """A decision and its basis.

    Attributes:
        p_value: in (0, 1]; None if there is none.
        smallest_p: the smallest that this many twins allow.
        by: how p_value was computed: by the victim's rank among its twins, or by a normal distribution.
        rank: the victim's among all candidates, from 1; None if there is none.
        statistics: of each candidate, the victim first, standardised, all at one look: the one that
            determines the victim's rank, or for a normal p-value the last. Empty if there are none.
        statistics_after: how many questions had been asked at that look.
        beyond: None unless the victim resembles many innocent models; then p_value is the larger of the two.
        normal: the p-value that assumes the twins' normality, in addition to the rank's; None if not
            possible.
        queries: asked so far. ``settled`` says whether more could change the decision.
        cautions: to be shown with the decision.
    """

    decision: Decision
    reason: str
    p_value: float | None
    smallest_p: float
    level: float
    by: By
    rank: int | None
    twins: int
    statistics: tuple[float, ...]
    statistics_after: int | None
    beyond: Beyond | None
    normal: NormalClaim | None
    access: str
    queries: int
    budget: int
    settled: bool
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """How a suspect's answers are read, and how many there are of how many."""

    access: str
    queries: int
    budget: int


@dataclass(frozen=True, eq=False)
class Standing:
    """The basis of a decision: the victim's rank, and anything else that affects it."""

    ranking: Ranking
    last: np.ndarray
    """Statistics ``[C]`` at the last look: a normal p-value uses these, since the look that determines the
    victim's rank is chosen by its statistic."""
    placed_after: int
    """Questions asked at the look that determines the victim's rank."""
    beyond: Beyond | None
    normal: NormalClaim | None


def check_level(level: float) -> None:
    """Refuse a level at which nobody, or everybody, would be accused."""
    if not 0 < level < 0.5:
        raise ConfigError(
            f"level {level!r}; expected a number in (0, 0.5): the share of innocent models that may be"
            " accused"
        )


def check_kind(by: str) -> None:
    """Refuse an unknown kind of p-value: a misspelt one must not bypass the test of normality.

    Raises:
        ConfigError: it is not one of ``P_VALUES``.
    """
    if by not in P_VALUES:
        raise ConfigError(f"p-value {by!r}; expected one of {', '.join(P_VALUES)}")


def too_few(twins: int, level: float, by: By = "rank") -> str:
    """Why nobody can be accused at ``level`` with this many twins, whatever a suspect answers; "" if somebody
    can."""
    if twins == 0:
        return (
            "the kit has no twins, models trained exactly as the victim was but for the seed, to compare it"
            " with; audit again with --train or --train-command"
        )
    if by == "rank" and smallest_p(twins) > level:
        return (
            f"{twins} twins allow no p under {smallest_p(twins):.2g}; level {level:g} needs"
            f" {twins_for(level)}: add some by 'zooaudit kit add-twins', take level {smallest_p(twins):.2g},"
            " or go by a normal distribution (--p-value normal), which rests on the twins' statistics being"
            " normal"
        )
    return ""


def abstain_reason(checks: Tensor) -> str:
    """Why a suspect's answers ``[q, K]`` to different images of the victim's task cannot be judged; "" if
    they can."""
    if checks.shape[-1] < 2 or not len(checks):
        return ""
    shares = np.bincount(checks.argmax(1).numpy(), minlength=checks.shape[1]) / len(checks)
    if shares.max() >= ONE_LABEL:
        return (
            f"degenerate answers: class {int(shares.argmax())} on {shares.max():.0%} of {len(checks)}"
            " different images"
        )
    return ""


def cannot_tell(
    reason: str, twins: int, level: float, asked: Asked, by: By = "rank", cautions: Sequence[str] = ()
) -> TwinVerdict:
    """The verdict if the test cannot be made; more questions would not change that."""
    return TwinVerdict(
        Decision.CANNOT_TELL,
        reason,
        None,
        smallest_p(twins),
        level,
        by,
        None,
        twins,
        (),
        None,
        None,
        None,
        asked.access,
        asked.queries,
        asked.budget,
        True,
        tuple(cautions),
    )


def decide(
    standing: Standing, level: float, asked: Asked, by: By = "rank", cautions: Sequence[str] = ()
) -> TwinVerdict:
    """The decision on a suspect whose answers can be judged, among enough twins.

    Raises:
        ConfigError: there is no such level, or kind of p-value.
    """
    check_level(level)
    check_kind(by)
    ranking, beyond, normal = standing.ranking, standing.beyond, standing.normal
    twins = ranking.candidates - 1
    if by == "normal" and (normal is None or normal.normality < NOT_NORMAL):
        text = (
            "there are too few"
            if normal is None
            else f"a test of their normality gives p {normal.normality:.2g}, under {NOT_NORMAL:g}"
        )
        why = (
            f"a p-value by the normal distribution was asked for, but of the twins' statistics {text}; go by"
            " rank"
        )
        return cannot_tell(why, twins, level, asked, by, cautions)
    own = ranking.p_value if by == "rank" or normal is None else normal.p_value
    if beyond and own <= level and smallest_p(beyond.references) > level:
        why = (
            "the victim resembles many models, so a suspect must also have more of it than references have;"
            f" {beyond.references} of them allow no p under {smallest_p(beyond.references):.2g}, level"
            f" {level:g} needs {twins_for(level)}"
        )
        return cannot_tell(why, twins, level, asked, by, cautions)
    p = max(own, beyond.p_value) if beyond else own
    settled = ranking.settled if by == "rank" else asked.queries == asked.budget
    decision = Decision.STOLEN if p <= level and settled else Decision.NOT_SHOWN
    reason = _reason(ranking, own, by, beyond, level, p, settled)
    shown, after = (
        (ranking.statistics, standing.placed_after) if by == "rank" else (standing.last, asked.queries)
    )
    return TwinVerdict(
        decision,
        reason,
        p,
        smallest_p(twins),
        level,
        by,
        ranking.rank,
        twins,
        tuple(float(t) for t in shown),
        after,
        beyond,
        normal,
        asked.access,
        asked.queries,
        asked.budget,
        settled,
        tuple(cautions),
    )


def _reason(
    ranking: Ranking, own: float, by: By, beyond: Beyond | None, level: float, p: float, settled: bool
) -> str:
    twins = ranking.candidates - 1
    place = (
        f"the victim than of any of its {twins} twins"
        if ranking.rank == 1
        else f"{ranking.rank - 1} of {twins} twins than of the victim"
    )
    text = f"p {p:.2g} {'<=' if p <= level else '>'} {level:g}: the suspect has more of {place}"
    if by == "normal":
        text += f"; by the normal distribution p {own:.2g}"
    if beyond:
        text += (
            "; the victim resembles many models, so the suspect must also have more of it than they have: "
            f"{beyond.above} of {beyond.references} references have as much, p {beyond.p_value:.2g}"
        )
    return text if settled else f"{text}; not settled yet"
