"""How much of each candidate is in a suspect's answers: one number for each candidate, computed in the same
way for the victim and for every twin.

Most of a suspect's answers are what every model of the task answers. So the candidates' mean M is subtracted
from the suspect and from each candidate, and the differences are compared. Much of them is common to all
models that the candidates' owner did not train. The *rows* B describe it: references, models of other
people's procedures, minus M, as they are, behind interfaces that blur their inputs, and with sharper and
softer answers; and the candidates' mean behind the same, minus M. Features in which the rows are large count
less, and so do directions in which they lie, by the metric ``(I + B'B / lambda)^-1``. The number is the
cosine of ``suspect - M`` and ``candidate - M`` in that metric. If it is known what a learner can pick up of
each candidate (verdict/predicted.py), ``candidate - M`` and the same for its predicted answers, each of
length 1, are added.

Everything here is symmetric: exchanging two candidates exchanges their numbers and changes no other. So the
rank of one candidate among all gives a valid p-value whatever the references are; they increase power and do
not affect validity (docs/statistics.md).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from zooaudit.suspects.access import Access
from zooaudit.verdict.grouping import MOST, grouped

RIDGE = 0.1
"""lambda, as a share of the rows' mean squared singular value."""
EVEN = 0.3
"""A feature is divided by the root of its mean square in the rows, plus this share of the mean over all
features."""
TEMPERATURES = (0.5, 2.0)
"""Temperatures of sharper and softer answers: calibration changes answers in this way, and says nothing about
a model's origin."""
SHARED = ""
"""Group of rows that belong to no reference."""
MOST_PAIRS = 400
"""How many questions' pairs are compared if a suspect's classes are not the kit's."""


def features(answers: Tensor, access: Access, by_columns: bool = True) -> np.ndarray:
    """The features of answers ``[..., q, K]`` that are compared: float64 ``[..., D]``, or float32 for
    ``grouping.MOST`` classes and more.

    For more than ``grouping.MOST`` classes, sums over groups are compared. By columns: the square roots of
    the answers, so that Euclidean distance is Hellinger's. Otherwise, if classes differ in number or meaning:
    how alike the answers to each pair of questions are (their Bhattacharyya coefficients, centred), which
    needs no common classes.
    """
    roots = grouped(access.reduced(answers).clamp(min=0)).sqrt()
    roots = roots if roots.shape[-1] >= MOST else roots.double()
    if by_columns:
        return roots.flatten(-2).numpy()
    some = roots[..., :MOST_PAIRS, :]
    alike = some @ some.transpose(-1, -2)
    centred = (
        alike
        - alike.mean(-1, keepdim=True)
        - alike.mean(-2, keepdim=True)
        + alike.mean((-1, -2), keepdim=True)
    )
    above = torch.triu_indices(alike.shape[-2], alike.shape[-1], offset=1)
    return centred[..., above[0], above[1]].numpy()


def tempered(answers: Tensor, temperature: float) -> Tensor:
    """Softmax at another temperature: over 1 softens, under 1 sharpens; labels stay."""
    return (answers.clamp(min=1e-12).log() / temperature).softmax(-1)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Candidates and rows, prepared for comparison with suspects.

    Attributes:
        candidates: float64 ``[C, D]``, features of the victim and its twins, in any order.
        rows: float64 ``[N, D]``; N may be 0. The first R are the references as they are.
        references: R.
        groups: of each row, its source group; ``SHARED`` for rows without one.
        predicted: float64 ``[C, D]``, features of the candidates' predicted answers; None without any.
    """

    candidates: np.ndarray
    rows: np.ndarray
    references: int
    groups: tuple[str, ...]
    predicted: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory, including everything derived so far."""
        parts = [
            part
            for value in list(vars(self).values())
            for part in (value if isinstance(value, tuple) else (value,))
        ]
        return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))

    @cached_property
    def mean(self) -> np.ndarray:
        """M: float64 ``[D]``."""
        return np.asarray(self.candidates.mean(0))

    @cached_property
    def scale(self) -> np.ndarray:
        """The factor of each feature: float64 ``[D]``."""
        if not len(self.rows):
            return np.ones_like(self.mean)
        squared = ((self.rows - self.mean) ** 2).mean(0)
        return np.asarray(1 / np.sqrt(np.maximum(squared + EVEN * squared.mean(), 1e-12)))

    @cached_property
    def _rests(self) -> tuple[np.ndarray, np.ndarray]:
        own = (self.candidates - self.mean) * self.scale
        if self.predicted is not None:
            own = _of_length_1(own) + _of_length_1((self.predicted - self.predicted.mean(0)) * self.scale)
        return own, (self.rows - self.mean) * self.scale

    @cached_property
    def _products(self) -> np.ndarray:
        """Inner products of all differences from M, candidates first: float64 ``[C + N, C + N]``."""
        both = np.concatenate(self._rests)
        return np.asarray(both @ both.T, dtype=np.float64)

    @cached_property
    def _kernel(self) -> np.ndarray:
        count = len(self.candidates)
        return _inverse(self._products[count:, count:])

    @cached_property
    def weights(self) -> np.ndarray:
        """Float64 ``[C, D]``: a suspect's scaled difference times these, divided by its length, is the
        statistic."""
        own, others = self._rests
        count = len(own)
        metric = own - self._products[:count, count:] @ self._kernel @ others if len(others) else own
        lengths = np.sqrt(np.maximum((metric * own).sum(1), 0))
        return np.divide(metric, lengths[:, None], out=np.zeros_like(metric), where=lengths[:, None] > 0)

    def of(self, suspects: np.ndarray) -> np.ndarray:
        """The statistic of suspects' features ``[..., D]`` for each candidate: float64
        ``[..., C]``, each in [-1, 1]."""
        rest = (suspects - self.mean) * self.scale
        length = self._length(rest)[..., None]
        products = rest @ self.weights.T
        return np.divide(products, length, out=np.zeros_like(products), where=length > 0)

    def parts(self, suspect: np.ndarray) -> np.ndarray:
        """What each feature contributes to the statistic: float64 ``[C, D]``, which sums to ``of``."""
        rest = (suspect - self.mean) * self.scale
        return np.asarray(self.weights * rest / (float(self._length(rest)) or 1.0))

    def left_out(self) -> np.ndarray:
        """The statistic of each reference, as a suspect, with all rows of its group left out: float64 ``[R,
        C]``."""
        products, count, groups = self._products, len(self.candidates), np.array(self.groups)
        found = np.zeros((self.references, count))
        for r in range(self.references):
            others = count + np.flatnonzero(groups != groups[r])
            kept = [*range(count), count + r]
            across = products[np.ix_(kept, others)]
            metric = products[np.ix_(kept, kept)]
            if len(others):
                metric = metric - across @ _inverse(products[np.ix_(others, others)]) @ across.T
            lengths = np.sqrt(np.maximum(np.diag(metric), 0))
            scale = lengths[-1] * lengths[:-1]
            found[r] = np.divide(metric[-1, :-1], scale, out=np.zeros(count), where=scale > 0)
        return found

    def _length(self, rest: np.ndarray) -> np.ndarray:
        """The length of scaled differences ``[..., D]`` in the metric: float64 ``[...]``."""
        others = self._rests[1]
        squared = np.square(rest).sum(-1)
        if len(others):
            along = rest @ others.T
            squared = squared - ((along @ self._kernel) * along).sum(-1)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _of_length_1(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0))


def _inverse(among: np.ndarray) -> np.ndarray:
    """The inverse of ``lambda I + B B'``, from B B' (Woodbury's identity: the metric is ``I - B' (lambda I +
    B B')^-1 B``)."""
    level = RIDGE * float(np.trace(among)) / len(among)
    return np.asarray(np.linalg.inv(among + max(level, 1e-12) * np.eye(len(among))))


def standardised(statistics: np.ndarray) -> np.ndarray:
    """``[..., C]`` in standard deviations of all candidates from their mean; 0 if all are equal."""
    centred = statistics - statistics.mean(-1, keepdims=True)
    deviation = statistics.std(-1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)
