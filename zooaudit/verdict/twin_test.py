"""The twin test: what a suspect is asked, what candidates and references answered to the
same, and the verdict that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zooaudit.data.images import to_unit
from zooaudit.errors import AnswersError, ConfigError
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import SUM_TOLERANCE, BlackBox
from zooaudit.verdict.decision import (
    Asked,
    By,
    Standing,
    TwinVerdict,
    abstain_reason,
    cannot_tell,
    check_level,
    decide,
    too_few,
)
from zooaudit.verdict.examined import (
    FAMILIES,
    FOREIGN,
    LOG,
    NATURAL,
    Candidate,
    Compared,
    Examined,
    Reference,
)
from zooaudit.verdict.exchangeable import Check, examined, spoken
from zooaudit.verdict.grouping import groups
from zooaudit.verdict.hub import Hub, hub_of
from zooaudit.verdict.ranking import normal_claim, ranked
from zooaudit.verdict.registry import COSINE, STATISTICS
from zooaudit.verdict.statistic import SHARED, TEMPERATURES, Comparison, features, standardised, tempered

LEAST = 10
"""Questions of a family under which it is left out of a look."""
POORER = 0.05
BEHINDHAND = {NATURAL: 0.0, LOG: 0.0, FOREIGN: 1.0}
"""Standard deviations that a family's statistic must be ahead by to count as much. On
images of another task one candidate is often nearest to everybody; a thief who asked with
such images stands out there by far more."""
DIGITS = 9
"""Decimals that statistics are rounded to: the last bits depend on how many suspects are
computed at once, and on whose machine."""
SHUFFLES = 5
"""Orders of the true labels, drawn, that an order of a suspect's classes must beat to be believed."""
READINGS = 4
"""Ways of reading answers (access, and whether class by class) for which comparisons are kept: a caller may
name any, each takes memory."""
OnLook = Callable[["Examined"], None]


@dataclass(frozen=True, eq=False)
class TwinTest:
    """Everything that a verdict rests on.

    Attributes:
        images: uint8 ``[Q, c, h, w]``, in the order in which they are asked; the first ``control_questions``
            are drawn at random from the victim's task.
        labels: int64 ``[Q]``, true classes; ``NO_CLASS`` of images that have none.
        families: of each question, one of ``FAMILIES``.
        looks: after how many questions the statistic is looked at, ascending; the last one is Q.
        level: at most this share of innocent suspects is accused.
        candidates: the victim first, then its twins.
        answers: float32 ``[m + 1, Q, K]``, the candidates'. Here and below K is the number of classes, or of
            groups where classes are too many (``verdict/grouping.py``).
        references: models of other procedures, none made from a candidate; their answers
            float32 ``[R, Q, K]``.
        procedure: how the twins were trained, for people; "" where there are none.
        behind, reference_behind: float32 ``[I, m + 1, Q, K]`` and ``[I, R, Q, K]``, the same models' answers
            behind I interfaces that change what they are asked; None for a test that knows no interfaces.
        predicted: float32 ``[m + 1, Q, K]``, what references' answers predict of the candidates' to images of
            the victim's task, and the candidates' own answers to all others; None where nothing is predicted.
        lessons: float32 ``[R, n, K]``, the references' answers to all images of the task that questions were
            chosen from, in their order: so that twins' answers can be predicted that come later.
        classes: how many a suspect's answers have to have to be compared class by class; 0 where it is K.
        statistic: what candidates are ranked by, one of ``STATISTICS``.
    """

    images: Tensor
    labels: Tensor
    families: tuple[str, ...]
    control_questions: int
    looks: tuple[int, ...]
    level: float
    candidates: tuple[Candidate, ...]
    answers: Tensor
    references: tuple[Reference, ...]
    reference_answers: Tensor
    procedure: str = ""
    behind: Tensor | None = None
    reference_behind: Tensor | None = None
    predicted: Tensor | None = None
    lessons: Tensor | None = None
    classes: int = 0
    statistic: str = COSINE
    _compared: dict[tuple[Access, bool], dict[tuple[int, str], Comparison]] = field(
        default_factory=dict, init=False, repr=False
    )
    _hubs: dict[tuple[Access, bool, int], Hub] = field(default_factory=dict, init=False, repr=False)
    _left_out: dict[tuple[Access, bool, int], np.ndarray] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def budget(self) -> int:
        """Questions in all."""
        return len(self.images)

    @property
    def twins(self) -> int:
        return len(self.candidates) - 1

    @property
    def num_classes(self) -> int:
        """Of the victim, and of suspects that are compared class by class."""
        return self.classes or int(self.answers.shape[-1])

    def questions(self) -> Tensor:
        """Float ``[Q, c, h, w]`` in [0, 1], in the order in which they are asked."""
        return to_unit(self.images)

    @cached_property
    def exchangeability(self) -> tuple[Check, ...]:
        """Whether the victim looks like a draw of its twins' procedure: found out without any suspect."""
        if self.twins < 2:
            return ()
        natural = self._rows(NATURAL, self.budget)
        return examined(
            self.answers[:, natural],
            [c.accuracy for c in self.candidates],
            self.reference_answers[:, natural],
        )

    def barred(self, level: float | None = None, by: By = "rank") -> str:
        """Why nobody can be accused, whatever a suspect answers; empty if somebody can."""
        return spoken(self.exchangeability)[0] or too_few(
            self.twins, self.level if level is None else level, by
        )

    def prepare(self, access: Access) -> None:
        """Make all that a verdict takes beside the suspect's answers, so that no suspect waits for it. One
        test serves many threads: what two of them make at once is the same, and kept once."""
        if self.barred():
            return
        for look in self.looks:
            self.statistics(self.answers[0], access, look)
            self.hub(access, horizon=look)

    @property
    def kept_bytes(self) -> int:
        """Of memory, for what has been made ready for suspects."""
        return sum(
            comparison.nbytes for kept in list(self._compared.values()) for comparison in list(kept.values())
        )

    def hub(self, access: Access | None = None, by_columns: bool = True, horizon: int | None = None) -> Hub:
        """Whether the victim resembles many models that nobody made from it: each reference
        in turn as a suspect."""
        key = (access or Access(), by_columns, horizon or self.budget)
        if key not in self._hubs:
            self._hubs.setdefault(key, hub_of(self._references(*key)))
        return self._hubs[key]

    def _references(self, access: Access, by_columns: bool, queries: int) -> np.ndarray:
        """Each reference as a suspect, standardised: ``[R, C]``; made once."""
        key = (access, by_columns, queries)
        if key not in self._left_out:
            self._left_out.setdefault(
                key, self._combined(self._families(queries), [c.left_out() for c in self._comparisons(*key)])
            )
        return self._left_out[key]

    def ordered(self, order: Sequence[int]) -> "TwinTest":
        """The same test with its candidates in another order: the one at ``order[0]`` is the victim."""
        rows = list(order)
        behind = None if self.behind is None else self.behind[:, rows]
        predicted = None if self.predicted is None else self.predicted[rows]
        found = replace(
            self,
            candidates=tuple(self.candidates[i] for i in rows),
            answers=self.answers[rows],
            behind=behind,
            predicted=predicted,
        )
        found._left_out.update({key: of[:, rows] for key, of in self._left_out.items()})
        return found

    def at_once(self) -> "TwinTest":
        """The same with one look, at the end; both keep one set of comparisons."""
        found = replace(self, looks=self.looks[-1:])
        for kept in ("_compared", "_left_out", "_hubs"):
            object.__setattr__(found, kept, getattr(self, kept))
        return found

    def forget(self) -> None:
        """Let go of the comparisons, which take memory; how the references stand is kept."""
        self._compared.clear()

    def examine(
        self,
        suspect: BlackBox,
        level: float | None = None,
        access: Access | None = None,
        by: By = "rank",
        horizon: int | None = None,
        early: bool = True,
        on_look: OnLook = lambda _: None,
    ) -> Examined:
        """Ask a suspect until the decision is settled.

        Args:
            level: the kit's, unless given.
            access: what the suspect's interface tells; seen from its answers unless given.
            by: what the p-value is, see :class:`~zooaudit.verdict.decision.TwinVerdict`.
            horizon: questions at most, one of ``looks``; to be fixed before the first
                answer is seen. By default all.
            early: False asks everything whatever comes.
            on_look: called after every look.
        """
        images = self.questions()
        answers: Tensor | None = None
        for stop in self.stops(horizon):
            first = 0 if answers is None else len(answers)
            new = suspect.ask(images[first:stop]).cpu()
            answers = new if answers is None else torch.cat([answers, new])
            found = self.judge(answers, level, access, by, horizon)
            on_look(found)
            if early and found.verdict.settled:
                break
        return found

    def stops(self, horizon: int | None = None) -> tuple[int, ...]:
        """After how many questions the statistic is looked at.

        Raises:
            ConfigError: ``horizon`` is not a look.
        """
        if horizon is None:
            return self.looks
        if horizon not in self.looks:
            raise ConfigError(
                f"{horizon} questions; expected one of {', '.join(map(str, self.looks))}, after which the kit"
                " takes a look"
            )
        return tuple(n for n in self.looks if n <= horizon)

    def judge(
        self,
        answers: Tensor,
        level: float | None = None,
        access: Access | None = None,
        by: By = "rank",
        horizon: int | None = None,
    ) -> Examined:
        """The verdict on answers ``[queries, K']`` to the first questions: to all of them,
        or up to any look. K' may differ from the kit's K; then how alike the answers to
        each two questions are is compared, not class by class.

        Raises:
            AnswersError: no such answers, or they tell less than ``access`` claims.
            ConfigError: no such level or horizon.
        """
        stops = self.stops(horizon)
        self._check(answers, stops)
        access = self.read_as(access, answers)
        (compared,) = self.compared(answers[None], access, horizon)
        return Examined(self.decide(compared, level, by, horizon), answers, access)

    def compared(self, answers: Tensor, access: Access, horizon: int | None = None) -> list[Compared]:
        """Many suspects' answers ``[S, queries, K']``, read in one way, at each look that they reach."""
        reached = [n for n in self.stops(horizon) if n <= answers.shape[1]]
        looks = np.stack([self.statistics(answers, access, n) for n in reached], axis=1)
        abstain_reasons = [abstain_reason(rows[: self.control_questions]) for rows in answers]
        by_columns, queries = answers.shape[2] == self.num_classes, answers.shape[1]
        return [
            Compared(one, why, access, by_columns, queries)
            for one, why in zip(looks, abstain_reasons, strict=True)
        ]

    def decide(
        self,
        compared: Compared,
        level: float | None = None,
        by: By = "rank",
        horizon: int | None = None,
        aside: bool = True,
    ) -> TwinVerdict:
        """The verdict on one suspect.

        Args:
            aside: with the claim by the normal distribution beside the rank, which takes
                longer than all the rest.
        """
        stops = self.stops(horizon)
        level = self.level if level is None else level
        check_level(level)
        asked = Asked(compared.access.name, compared.queries, stops[-1])
        cautions = spoken(self.exchangeability)[1]
        why = self.barred(level, by) or compared.abstain_reason
        if why:
            return cannot_tell(why, self.twins, level, asked, by, cautions)
        return decide(self._standing(compared, stops, aside or by == "normal"), level, asked, by, cautions)

    def statistics(self, answers: Tensor, access: Access, queries: int) -> np.ndarray:
        """Of the first so many answers ``[..., n, K']``, standardised: ``[..., C]``, the victim first."""
        by_columns = answers.shape[-1] == self.num_classes
        found = []
        for family, comparison in zip(
            self._families(queries), self._comparisons(access, by_columns, queries), strict=True
        ):
            found.append(
                comparison.of(features(answers[..., self._rows(family, queries), :], access, by_columns))
            )
        return self._combined(self._families(queries), found)

    def cosines(self, answers: Tensor, access: Access, queries: int, family: str = NATURAL) -> np.ndarray:
        """The statistic of one family's questions among the first so many answers ``[..., n, K]``, before it
        is standardised: ``[..., C]``, each in [-1, 1]; the victim first. It says how much of a candidate is
        in the answers; a verdict compares candidates.

        Raises:
            ConfigError: too few of these questions are that family's.
        """
        if family not in (at := self._families(queries)):
            raise ConfigError(
                f"of {queries} questions too few are {family}; expected one of"
                f" {', '.join(at) or 'more questions'}"
            )
        by_columns = answers.shape[-1] == self.num_classes
        comparison = self._comparisons(access, by_columns, queries)[at.index(family)]
        return comparison.of(features(answers[..., self._rows(family, queries), :], access, by_columns))

    def weights(self, answers: Tensor, access: Access, queries: int) -> np.ndarray:
        """What each of the first ``queries`` questions adds to the victim's lead over the
        mean of its twins, negative where it takes away: ``[queries]``, in shares of what
        all of them weigh, whichever way they point. Of the family that speaks most for the
        victim, as that is what is ranked; the others weigh nothing."""
        found: list[np.ndarray] = []
        for family, comparison in zip(
            self._families(queries), self._comparisons(access, True, queries), strict=True
        ):
            rows = self._rows(family, queries)
            parts = (
                comparison.parts(features(answers[rows], access))
                .reshape(len(self.candidates), len(rows), -1)
                .sum(-1)
            )
            spread = parts.sum(-1).std() or 1.0
            found.append(np.zeros(queries))
            found[-1][rows] = (parts[0] - parts[1:].mean(0)) / spread
        most = max(found, key=lambda shares: float(shares.sum()))
        total = np.abs(most).sum()
        return most / total if total else most

    def other_order(self, answers: Tensor) -> tuple[int, ...]:
        """Where answers ``[queries, K]`` seem to have each of the classes, if these are not the kit's: the
        one order of columns that gets most of the control questions right, where it makes a model as good as
        the twins of one that is far poorer. Empty if there is none."""
        if answers.shape[1] != self.num_classes:
            return ()
        labels, given, chance = (
            self.labels[: self.control_questions],
            answers[: self.control_questions].argmax(1),
            torch.Generator().manual_seed(0),
        )
        columns, right = _best_order(labels, given, self.num_classes)
        known = torch.cat([self.answers, self.reference_answers])[:, : self.control_questions]
        least = float((known.argmax(-1) == groups(self.num_classes)[labels]).double().mean(-1).min())
        if float((labels == given).double().mean()) >= least - POORER or right < least - POORER:
            return ()
        if right <= max(
            _best_order(labels[torch.randperm(len(labels), generator=chance)], given, self.num_classes)[1]
            for _ in range(SHUFFLES)
        ):
            return ()  # of so many classes, some order makes sense of anything
        return tuple(int(c) for c in columns)

    def _standing(self, compared: Compared, stops: tuple[int, ...], normal: bool) -> Standing:
        """Where the victim stands."""
        looks = compared.looks
        ranking = ranked(looks, len(stops))
        hub = self.hub(compared.access, compared.by_columns, stops[ranking.look])
        beyond = hub.beyond(float(ranking.statistics[0])) if hub.is_one else None
        return Standing(
            ranking, looks[-1], stops[ranking.look], beyond, normal_claim(looks[-1]) if normal else None
        )

    def _families(self, queries: int) -> list[str]:
        return [f for f in FAMILIES if len(self._rows(f, queries)) >= min(LEAST, self.control_questions)]

    def _rows(self, family: str, queries: int) -> list[int]:
        return [i for i, f in enumerate(self.families[:queries]) if f == family]

    def _comparisons(self, access: Access, by_columns: bool, queries: int) -> list[Comparison]:
        """One for each family of questions; made once."""
        kept = self._kept(access, by_columns)
        found = []
        for family in self._families(queries):
            if (queries, family) not in kept:
                kept.setdefault(
                    (queries, family), self._comparison(self._rows(family, queries), access, by_columns)
                )
            found.append(kept[queries, family])
        return found

    def _comparison(self, questions: list[int], access: Access, by_columns: bool) -> Comparison:
        """Candidates by all that they answer, since their owner sees it; whatever a suspect may be like as
        its interface tells it."""

        def combined(answers: Tensor) -> np.ndarray:
            return features(answers, access, by_columns)

        own, others = self.answers[:, questions], self.reference_answers[:, questions]
        ways = (
            [] if access.kind == "label" else [(tempered(own, t), tempered(others, t)) for t in TEMPERATURES]
        )
        if self.behind is not None and self.reference_behind is not None:
            ways += zip(self.behind[:, :, questions], self.reference_behind[:, :, questions], strict=True)
        rows = [combined(others), *(combined(changed) for _, changed in ways)]
        shared = [
            combined(changed).mean(0, keepdims=True)
            for changed, _ in ([] if access == Access() else [(own, own)]) + ways
        ]
        groups = [r.source or r.id for r in self.references] * len(rows) + [SHARED] * len(shared)
        predicted = (
            None if self.predicted is None else features(self.predicted[:, questions], Access(), by_columns)
        )
        made = STATISTICS[self.statistic]
        return made(
            features(own, Access(), by_columns),
            np.concatenate([*rows, *shared]),
            len(others),
            tuple(groups),
            predicted,
        )

    def _kept(self, access: Access, by_columns: bool) -> dict[tuple[int, str], Comparison]:
        """The comparisons of one reading; those of the reading that was not used for longest are forgotten.
        Each step on the dict is one that threads cannot come between."""
        kept = self._compared.pop((access, by_columns), {})
        kept = self._compared.setdefault((access, by_columns), kept)
        for oldest in list(self._compared)[:-READINGS]:
            self._compared.pop(oldest, None)
        return kept

    def _combined(self, families: Sequence[str], statistics: Sequence[np.ndarray]) -> np.ndarray:
        """Statistics ``[..., C]`` of several families of questions in one: of each candidate the largest,
        standardised before and after."""
        found = [standardised(s) - BEHINDHAND[f] for f, s in zip(families, statistics, strict=True)]
        return standardised(np.max(found, axis=0)).round(DIGITS)

    def read_as(self, access: Access | None, answers: Tensor) -> Access:
        """As they are said to be read, or else as the less informative of the control
        questions and the rest looks, and as labels if neither tells less: of an innocent
        model, what is not combined would be taken for what it answers."""
        parts = [
            Access.seen(part)
            for part in (answers[: self.control_questions], answers[self.control_questions :])
            if len(part)
        ]
        if access is None:
            least = [seen for seen in parts if all(seen.within(other) for other in parts)]
            access = least[0] if least else Access("label")
        if access.kind == "top" and access.detail >= answers.shape[1]:
            access = Access()
        for seen in parts:
            if not access.within(seen):
                raise AnswersError.of(
                    f"what looks like {seen.name}",
                    f"{access.name}, as they are to be read; read them as {seen.name}",
                )
        return access

    def _check(self, answers: Tensor, stops: tuple[int, ...]) -> None:
        if answers.ndim != 2 or answers.shape[1] < 2 or not stops[0] <= len(answers) <= stops[-1]:
            expected = f"[{stops[0]} to {stops[-1]}, {self.num_classes}]: queries, classes"
            raise AnswersError.of(f"the shape {tuple(answers.shape)}", expected)
        if not torch.isfinite(answers).all() or (answers < 0).any() or (answers > 1 + SUM_TOLERANCE).any():
            raise AnswersError.of(
                "values that are not probabilities",
                "finite numbers in [0, 1]; logits have to go through a softmax first",
            )


def _best_order(labels: Tensor, given: Tensor, classes: int) -> tuple[np.ndarray, float]:
    """The order of columns that makes most of the classes ``given`` the true ones, and the
    share that it does."""
    counts = torch.zeros(classes, classes).index_put_(
        (labels, given), torch.ones(len(given)), accumulate=True
    )
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return columns, float(counts[rows, columns].sum()) / len(given)


def only(test: TwinTest, family: str) -> TwinTest:
    """The same test with the questions of one family alone: for saying what came of these,
    not for a verdict of its own.

    Raises:
        ConfigError: it asks none of that family.
    """
    rows = [i for i, f in enumerate(test.families) if f == family]
    if not rows:
        raise ConfigError(
            f"no question is of the family {family!r}; expected one of"
            f" {', '.join(dict.fromkeys(test.families))}"
        )
    looks = {sum(i < look for i in rows) for look in test.looks} - {0}
    return replace(
        test,
        images=test.images[rows],
        labels=test.labels[rows],
        families=(family,) * len(rows),
        control_questions=max(sum(i < test.control_questions for i in rows), 1),
        looks=tuple(sorted(looks)),
        answers=test.answers[:, rows],
        reference_answers=test.reference_answers[:, rows],
        behind=None if test.behind is None else test.behind[:, :, rows],
        reference_behind=None if test.reference_behind is None else test.reference_behind[:, :, rows],
        predicted=None if test.predicted is None else test.predicted[:, rows],
    )
