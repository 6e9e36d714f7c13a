"""The decision on one suspect: stolen, not shown, or cannot tell and why. Of several suspects that are judged
together, ``several.py`` compares the corrected p-values with the level again."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from zooaudit.errors import ConfigError
from zooaudit.verdict.ranking import NormalClaim, Ranking, smallest_p, twins_for

ONE_LABEL = 0.95
"""Share of different images that get one and the same label from which answers count as degenerate."""
NOT_NORMAL = 0.05
"""P of the twins' normality under which a p-value that rests on it is refused."""
By = Literal["rank", "normal"]
P_VALUES: tuple[By, ...] = get_args(By)


class Decision(StrEnum):
    """What may be said of a suspect."""

    STOLEN = "stolen"
    NOT_SHOWN = "not shown"
    """The evidence does not support an accusation; it never proves innocence."""
    CANNOT_TELL = "cannot tell"
    """The question was not answered: the twins or the suspect's answers do not allow it."""


@dataclass(frozen=True)
class Beyond:
    """How a suspect stands to the references, where the victim is one that resembles many
    models that nobody made from it.

    Attributes:
        above: references, each left out of what is taken off, that have as much of the
            victim as the suspect has.
        references: how many there are.
    """

    above: int
    references: int

    @property
    def p_value(self) -> float:
        return (1 + self.above) / (self.references + 1)


@dataclass(frozen=True)
class TwinVerdict:
    """A decision and what it rests on.

    Attributes:
        p_value: in (0, 1]; None if nothing can be told.
        smallest_p: the strongest claim that so many twins allow.
        by: what p_value is: the victim's rank among its twins, or a tail of a normal distribution.
        rank: the victim's among all candidates, from 1; None if nothing can be told.
        statistics: of each candidate, the victim first, standardised, all at one look: that which places the
            victim, or for a p-value by the normal distribution the last. Empty if nothing can be told.
        statistics_after: how many questions had been asked at that look.
        beyond: None unless the victim resembles many innocent models; then p_value is the larger of the two.
        normal: the claim that rests on the twins' normality, beside the rank; None where it cannot be made.
        queries: asked so far. ``settled`` says whether more would change the decision.
        cautions: what has to be said beside the decision.
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
    """What was asked of a suspect: how its answers are read, how many there are of how many."""

    access: str
    queries: int
    budget: int


@dataclass(frozen=True, eq=False)
class Standing:
    """What the answers give, before anything is decided: the victim's place, and what else bears on it."""

    ranking: Ranking
    last: np.ndarray
    """Statistics ``[C]`` at the last look: what a normal claim is made from, since the look that places the
    victim is chosen by it."""
    placed_after: int
    """Questions asked at the look that places the victim."""
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
    """Refuse a kind of p-value that there is not: a misspelt one must not pass by the test of normality.

    Raises:
        ConfigError: it is none of ``P_VALUES``.
    """
    if by not in P_VALUES:
        raise ConfigError(f"p-value {by!r}; expected one of {', '.join(P_VALUES)}")


def too_few(twins: int, level: float, by: By = "rank") -> str:
    """Why nobody can be accused at ``level`` with so many twins, whatever a suspect
    answers; empty if somebody can."""
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
    """Why a suspect's answers ``[q, K]`` to different images of the victim's task cannot be
    judged; empty if they can."""
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
    """The verdict where nothing can be told; more questions would not change that."""
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
        ConfigError: no such level, or no such kind of p-value.
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
