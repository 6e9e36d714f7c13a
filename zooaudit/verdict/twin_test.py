"""The twin test: the questions to a suspect, the answers of candidates and references to the same, and the
verdict."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import AnswersError, ConfigError
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import SUM_TOLERANCE, BlackBox
from zooaudit.verdict.comparisons import TwinComparisons
from zooaudit.verdict.decision import (
    Asked,
    By,
    Standing,
    TwinVerdict,
    abstain_reason,
    cannot_tell,
    check_level,
    decide,
)
from zooaudit.verdict.examined import (
    Compared,
    Examined,
)
from zooaudit.verdict.exchangeable import spoken
from zooaudit.verdict.ranking import normal_claim, ranked

OnLook = Callable[["Examined"], None]


@dataclass(frozen=True, eq=False)
class TwinTest(TwinComparisons):
    """Judges suspects by a test's questions and comparisons."""

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
            level: by default the kit's.
            access: the suspect's interface; by default inferred from its answers.
            by: how the p-value is computed, see :class:`~zooaudit.verdict.decision.TwinVerdict`.
            horizon: the most questions, one of ``looks``; fix it before you see the first answer. By default
                all.
            early: False asks everything, whatever comes.
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

    def judge(
        self,
        answers: Tensor,
        level: float | None = None,
        access: Access | None = None,
        by: By = "rank",
        horizon: int | None = None,
    ) -> Examined:
        """The verdict on answers ``[queries, K']`` to the first questions: to all of them, or up to any look.
        K' may differ from the kit's K; then how alike the answers to each pair of questions are is compared,
        instead of class by class.

        Raises:
            AnswersError: the answers have another form, or are less precise than ``access`` states.
            ConfigError: there is no such level or horizon.
        """
        stops = self.stops(horizon)
        self._check(answers, stops)
        access = self.read_as(access, answers)
        (compared,) = self.compared(answers[None], access, horizon)
        return Examined(self.decide(compared, level, by, horizon), answers, access)

    def compared(self, answers: Tensor, access: Access, horizon: int | None = None) -> list[Compared]:
        """Many suspects' answers ``[S, queries, K']``, read in the same way, at each look that they reach."""
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
            aside: also compute the normal p-value in addition to the rank's, which takes longer than
                everything else.
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

    def _standing(self, compared: Compared, stops: tuple[int, ...], normal: bool) -> Standing:
        """The victim's rank, and what else affects the decision."""
        looks = compared.looks
        ranking = ranked(looks, len(stops))
        hub = self.hub(compared.access, compared.by_columns, stops[ranking.look])
        beyond = hub.beyond(float(ranking.statistics[0])) if hub.is_one else None
        return Standing(
            ranking, looks[-1], stops[ranking.look], beyond, normal_claim(looks[-1]) if normal else None
        )

    def read_as(self, access: Access | None, answers: Tensor) -> Access:
        """The level that answers are read as: the stated one, or else the less informative of what the
        control questions and the rest look like, or labels if either looks like them. An innocent model's
        missing values must not be mistaken for its answers."""
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
                    f"{access.name}, as stated; read them as {seen.name}",
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


def only(test: TwinTest, family: str) -> TwinTest:
    """The same test with the questions of one family alone: to report on these, not for a verdict of its own.

    Raises:
        ConfigError: it has no questions of that family.
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
        defended=None if test.defended is None else test.defended[:, rows],
        defended_predicted=None if test.defended_predicted is None else test.defended_predicted[:, rows],
    )
