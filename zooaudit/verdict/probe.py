"""The probe: what a suspect is asked for the calibrated verdict, in order, and what models of known history answer to the same."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zooaudit.config import check_level
from zooaudit.data.images import to_unit
from zooaudit.errors import AnswersError
from zooaudit.fingerprint.access import Access
from zooaudit.suspects.blackbox import SUM_TOLERANCE, BlackBox
from zooaudit.verdict.calibrated import POORER, Calibrated, Call, call, hindrances
from zooaudit.verdict.references import References
from zooaudit.verdict.scale import Scale
from zooaudit.zoo.spec import Role

REQUIRED = (str(Role.HOMOLOGOUS), str(Role.LOOK_ALIKE))
"""Kinds of innocent models without which nobody is accused: independently trained ones, and copies of strangers' models."""
PARTS = ("copy", "innocent", "reference")
Told = Callable[["Examined"], None]


@dataclass(frozen=True)
class Known:
    """A model of known history: its family, the source that it shares with those it stands or falls with, and what it was asked behind."""

    id: str
    family: str
    kin: str
    behind: str = ""


@dataclass(frozen=True, eq=False)
class Answered:
    """Models of known history and their answers float32 ``[models, Q, K]`` to a probe's images."""

    models: tuple[Known, ...]
    answers: Tensor

    def __len__(self) -> int:
        return len(self.models)

    @property
    def groups(self) -> list[int]:
        """Of each row, which model's it is: one may have been asked behind several interfaces."""
        numbers = {id_: i for i, id_ in enumerate(dict.fromkeys(m.id for m in self.models))}
        return [numbers[m.id] for m in self.models]

    @property
    def plain(self) -> list[int]:
        """Rows of models as they are."""
        return [i for i, m in enumerate(self.models) if not m.behind]

    def others(self, apart: Collection[str]) -> list[int]:
        """Indices of those that are neither the models of these ids nor share a source with one."""
        sources = {m.kin for m in self.models if m.id in apart}
        return [i for i, m in enumerate(self.models) if m.kin not in sources]

    def measured(self, scale: Scale, checks: int) -> References:
        """As references: their peaks on the images after the ``checks``."""
        peaks = scale.peaks(self.answers[:, checks:])
        return References(peaks, tuple(m.family for m in self.models), tuple(m.kin for m in self.models))


@dataclass(frozen=True, eq=False)
class Witness:
    """A score and what the references have by it. A suspect is called stolen only if all witnesses say so."""

    scale: Scale
    references: References


@dataclass(frozen=True, eq=False)
class Examined:
    """A suspect's answers so far and the call on them, by the witness that holds least against it.

    Attributes:
        answers: float32 ``[queries, K]``, checks first.
        score: 0 as innocent training models, 1 as known copies.
        peak: what p is a rank of: its highest standardised score so far.
        budget: queries at most.
        witness: its number.
    """

    verdict: Calibrated
    answers: Tensor
    access: Access
    score: float
    peak: float
    budget: int
    witness: int = 0

    @property
    def queries(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, eq=False)
class Probe:
    """Everything that a calibrated verdict rests on.

    Attributes:
        images: uint8 ``[C + Q, c, h, w]``: C checks, taken at random, then the Q most telling images, most telling first. No model
            of the zoo trained on any of them.
        labels: int64 ``[C + Q]``, the true classes.
        checks: C.
        level: at most this share of innocent models like the references is accused.
        copies, innocent: what the score is fitted on, as they are and behind interfaces.
        references: innocent models that neither it nor the choice of images knows.
    """

    images: Tensor
    labels: Tensor
    checks: int
    level: float
    copies: Answered
    innocent: Answered
    references: Answered
    _fitted: dict[Access, tuple[Witness, ...]] = field(default_factory=dict, init=False, repr=False)
    _chosen: dict[tuple[Access, frozenset[str]], tuple[list[References], np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    @property
    def budget(self) -> int:
        """Queries at most."""
        return len(self.images)

    @property
    def num_classes(self) -> int:
        return int(self.references.answers.shape[-1])

    @property
    def parts(self) -> dict[str, Answered]:
        """The models by what they are here for."""
        return dict(zip(PARTS, (self.copies, self.innocent, self.references), strict=True))

    def questions(self) -> Tensor:
        """Float ``[C + Q, c, h, w]`` in [0, 1], in the order in which they are asked."""
        return to_unit(self.images)

    def at(self, access: Access) -> tuple[Witness, ...]:
        """Who speaks at a rung of the access ladder; fitted once. One learnt from models as they are, the other from the same models
        behind interfaces too: the first takes what blurs images for the way to the copies, the second what trained on the victim's own
        images (docs/decisions/0014)."""
        if access not in self._fitted:
            taught = [([*self.copies.plain], [*self.innocent.plain])]
            if any(m.behind for m in (*self.copies.models, *self.innocent.models)):
                taught.append((list(range(len(self.copies))), list(range(len(self.innocent)))))
            self._fitted[access] = tuple(self._witness(access, *rows) for rows in taught)
        return self._fitted[access]

    def _witness(self, access: Access, copies: list[int], innocent: list[int]) -> Witness:
        groups = [self.innocent.groups[i] for i in innocent]
        scale = Scale.fit(access, self.copies.answers[copies][:, self.checks :], self.innocent.answers[innocent][:, self.checks :], groups)
        return Witness(scale, self.references.measured(scale, self.checks))

    @property
    def stops(self) -> list[int]:
        """After how many queries in all the evidence is looked at."""
        return [self.checks + int(q) for q in self.at(Access())[0].scale.looks.queries]

    def examine(
        self, suspect: BlackBox, level: float | None = None, access: Access | None = None, apart: Collection[str] = (),
        early: bool = True, told: Told = lambda _: None,
    ) -> Examined:  # fmt: skip
        """Ask a suspect, checks first and then the most telling images, until there is a call that more queries would not change.

        Args:
            level: the kit's, unless given.
            access: what the suspect's interface tells; seen from its answers to the checks unless given.
            apart: ids of references to leave out, with all that share a source with them: of the suspect itself, if it is one.
            early: False asks everything whatever comes.
            told: called after every look.
        """
        images, answers = self.questions(), torch.empty(0, self.num_classes)
        for stop in self.stops:
            answers = torch.cat([answers, suspect.ask(images[len(answers) : stop]).cpu()])
            found = self.judge(answers, level, access, apart)
            told(found)
            if early and found.verdict.call is not Call.NOT_SHOWN:
                break
        return found

    def judge(
        self, answers: Tensor, level: float | None = None, access: Access | None = None, apart: Collection[str] = ()
    ) -> Examined:  # fmt: skip
        """The call on answers ``[queries, K]`` to the probe's images: to all of them, or to the first ones, up to any look.

        Raises:
            AnswersError: no such answers, or they tell less than ``access`` claims.
            ConfigError: no such level.
        """
        self._check(answers)
        checks, telling = answers[: self.checks], answers[self.checks :]
        access = self._read_as(access, Access.seen(checks), Access.seen(telling))
        level = self.level if level is None else level
        check_level(level)
        labels = self.labels[: self.checks]
        beside, usual = self._beside(access, frozenset(apart))
        hindrance = hindrances(checks, float(_accuracies(checks, labels)), usual)
        heard = [self._heard(number, answers, access, references, level, hindrance) for number, references in enumerate(beside)]
        return max(heard, key=_in_favour)

    def _heard(
        self, number: int, answers: Tensor, access: Access, references: References, level: float, hindrance: str
    ) -> Examined:  # fmt: skip
        """What one witness says."""
        scale, telling = self.at(access)[number].scale, answers[self.checks :]
        score, peak = float(scale.score(telling)), float(scale.peaks(telling))
        verdict = call(peak, references, level, hindrance, REQUIRED, score)
        return Examined(verdict, answers, access, score, peak, self.budget, number)

    def _read_as(self, access: Access | None, checks: Access, telling: Access) -> Access:
        """As they are said to be read, or else as the less telling part of them looks, and as labels if neither tells less: of an innocent
        model, what is not told would be taken for what it answers."""
        if access is None:
            access = checks if checks.within(telling) else telling if telling.within(checks) else Access("label")
        if access.kind == "top" and access.detail >= self.num_classes:
            access = Access()
        for seen in (checks, telling):
            if not access.within(seen):
                raise AnswersError.of(f"what looks like {seen.name}", f"{access.name}, as they are to be read; read them as {seen.name}")
        return access

    def score(self, answers: Tensor) -> float:
        """Of answers ``[queries, K]`` whose probabilities are all told: 0 as innocent training models, 1 as known copies."""
        return min(float(w.scale.score(answers[self.checks :])) for w in self.at(Access()))

    def other_order(self, answers: Tensor) -> tuple[int, ...]:
        """Where answers ``[queries, K]`` seem to have each of the classes, if these are not the kit's: the one order of columns that gets
        most of the checks right, where it makes a model like the references of one that is unlike all. Empty if there is no such."""
        labels, given = self.labels[: self.checks], answers[: self.checks].argmax(1)
        counts = torch.zeros(self.num_classes, self.num_classes).index_put_((labels, given), torch.ones(len(given)), accumulate=True)
        columns = linear_sum_assignment(counts.numpy(), maximize=True)[1]
        right, least = (
            float(counts[range(self.num_classes), columns].sum()) / len(given),
            _accuracies(self.references.answers, labels).min(),
        )
        if float(counts.trace()) / len(given) >= least - POORER or right < least - POORER:
            return ()
        return tuple(int(c) for c in columns)

    def population(self, access: Access, witness: int = 0) -> dict[str, np.ndarray]:
        """By family, the sorted peaks of the references at a rung, by one witness; and under ``PARTS[0]`` those of the known copies, which
        taught the score and so stand higher than a copy that it has not seen."""
        scale, references = self.at(access)[witness].scale, self.at(access)[witness].references
        by_family = {f: [i for i, g in enumerate(references.families) if g == f] for f in dict.fromkeys(references.families)}
        found = {family: np.sort(references.peaks[rows]) for family, rows in by_family.items()}
        return found | {PARTS[0]: np.sort(scale.peaks(self.copies.answers[self.copies.plain][:, self.checks :]))}

    def _beside(self, access: Access, apart: frozenset[str]) -> tuple[list[References], np.ndarray]:
        """Who the suspect is compared with, by witness, and their accuracies on the checks; worked out once, not at every look."""
        if (access, apart) not in self._chosen:
            others = self.references.others(apart)
            accuracies = _accuracies(self.references.answers, self.labels[: self.checks])
            self._chosen[access, apart] = [w.references.take(others) for w in self.at(access)], accuracies[others]
        return self._chosen[access, apart]

    def _check(self, answers: Tensor) -> None:
        least = self.stops[0]
        if answers.ndim != 2 or answers.shape[1] != self.num_classes or not least <= len(answers) <= self.budget:
            expected = f"[{least} to {self.budget}, {self.num_classes}]: queries, classes"
            raise AnswersError.of(f"the shape {tuple(answers.shape)}", expected)
        if not torch.isfinite(answers).all() or (answers < 0).any() or (answers > 1 + SUM_TOLERANCE).any():
            raise AnswersError.of("values that are no probabilities", "finite numbers in [0, 1]; logits have to go through a softmax first")


def _accuracies(answers: Tensor, labels: Tensor) -> np.ndarray:
    """Of each model on the checks: answers ``[..., Q, K]`` to ``[...]``."""
    right = answers[..., : len(labels), :].argmax(-1) == labels
    return np.asarray(right.double().mean(-1))


def _in_favour(heard: Examined) -> tuple[bool, float]:
    """How little a witness holds against a suspect: not calling it stolen comes first, then its p."""
    verdict = heard.verdict
    return verdict.call is not Call.STOLEN, 2.0 if verdict.p_value is None else verdict.p_value
