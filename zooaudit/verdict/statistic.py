"""How much of each candidate is in a suspect's answers: one number a candidate, computed alike for the victim and for every twin.

Most of what a suspect answers is what every model of the task answers. So the candidates' mean M is taken off the suspect and off each
candidate, and what is left is compared. Of that rest, much is common to all models that the candidates' owner did not train; references,
models of other people's procedures, show what it is: with B the rows ``reference - M``, directions count for less the more of B lies in
them, by the metric ``(I + B'B / lambda)^-1``. The number is the cosine of ``suspect - M`` and ``candidate - M`` in that metric.

Everything here is symmetric: exchange two candidates, and their numbers are exchanged and no other changes. So the rank of one candidate
among all is a valid p-value whatever the references are; they buy power, not validity (docs/statistics.md).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from zooaudit.fingerprint.access import Access

RIDGE = 0.1
"""lambda, as a share of the mean squared singular value of the references' rows."""
MOST_PAIRS = 400
"""Questions whose pairs are compared where a suspect's classes are not the kit's."""


def features(answers: Tensor, access: Access, by_columns: bool = True) -> np.ndarray:
    """What is compared of answers ``[..., q, K]``: float64 ``[..., D]``.

    By columns: the square roots of what is told, so that Euclidean distance is Hellinger's. Else, where classes differ in number or
    meaning: how alike the answers to each pair of questions are (their Bhattacharyya coefficients, centred), which needs no common classes.
    """
    roots = access.told(answers).clamp(min=0).sqrt().double()
    if by_columns:
        return roots.flatten(-2).numpy()
    some = roots[..., :MOST_PAIRS, :]
    alike = some @ some.transpose(-1, -2)
    centred = alike - alike.mean(-1, keepdim=True) - alike.mean(-2, keepdim=True) + alike.mean((-1, -2), keepdim=True)
    above = torch.triu_indices(*alike.shape[-2:], offset=1)
    return centred[..., above[0], above[1]].numpy()


@dataclass(frozen=True, eq=False)
class Comparison:
    """Candidates and references, ready to be compared with suspects.

    Attributes:
        candidates: float64 ``[C, D]``, features of the victim and its twins, in any order.
        references: float64 ``[R, D]``; R may be 0.
    """

    candidates: np.ndarray
    references: np.ndarray

    @property
    def nbytes(self) -> int:
        """Of memory, with all that was derived so far."""
        parts = [part for value in list(vars(self).values()) for part in (value if isinstance(value, tuple) else (value,))]
        return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))

    @cached_property
    def mean(self) -> np.ndarray:
        """M: float64 ``[D]``."""
        return np.asarray(self.candidates.mean(0))

    @cached_property
    def _rests(self) -> tuple[np.ndarray, np.ndarray]:
        return self.candidates - self.mean, self.references - self.mean

    @cached_property
    def _products(self) -> np.ndarray:
        """Inner products of all rests, candidates first: float64 ``[C + R, C + R]``."""
        rows = np.concatenate(self._rests)
        return np.asarray(rows @ rows.T)

    @cached_property
    def weights(self) -> np.ndarray:
        """Float64 ``[C, D]``: a suspect's rest times these, over the suspect's own length, is the statistic."""
        own, others = self._rests
        count = len(own)
        across = self._products[:count, count:]
        metric = own - across @ self._among_inverse @ others if len(others) else own
        lengths = np.sqrt(np.maximum((metric * own).sum(1), 0))
        return np.divide(metric, lengths[:, None], out=np.zeros_like(metric), where=lengths[:, None] > 0)

    def of(self, suspects: np.ndarray) -> np.ndarray:
        """The statistic of suspects' features ``[..., D]`` for each candidate: float64 ``[..., C]``, each in [-1, 1]."""
        rest = suspects - self.mean
        length = self._length(rest)[..., None]
        products = rest @ self.weights.T
        return np.divide(products, length, out=np.zeros_like(products), where=length > 0)

    def parts(self, suspect: np.ndarray) -> np.ndarray:
        """What each feature adds to the statistic: float64 ``[C, D]``, whose sums are ``of``."""
        rest = suspect - self.mean
        return np.asarray(self.weights * rest / (float(self._length(rest)) or 1.0))

    def left_out(self) -> np.ndarray:
        """The statistic of each reference, as a suspect of which nobody else is a reference than the others: float64 ``[R, C]``."""
        products, count = self._products, len(self.candidates)
        found = np.zeros((len(self.references), count))
        for r in range(len(self.references)):
            others = [i for i in range(count, len(products)) if i != count + r]
            rows = [*range(count), count + r]
            across = products[np.ix_(rows, others)]
            metric = products[np.ix_(rows, rows)] - (across @ _inverse(products[np.ix_(others, others)]) @ across.T if others else 0)
            lengths = np.sqrt(np.maximum(np.diag(metric), 0))
            scale = lengths[-1] * lengths[:-1]
            found[r] = np.divide(metric[-1, :-1], scale, out=np.zeros(count), where=scale > 0)
        return found

    def _length(self, rest: np.ndarray) -> np.ndarray:
        """Of rests ``[..., D]``, in the metric: float64 ``[...]``."""
        others = self._rests[1]
        squared = np.square(rest).sum(-1)
        if len(others):
            along = rest @ others.T
            squared = squared - ((along @ self._among_inverse) * along).sum(-1)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    @cached_property
    def _among_inverse(self) -> np.ndarray:
        count = len(self.candidates)
        return _inverse(self._products[count:, count:])


def _inverse(among: np.ndarray) -> np.ndarray:
    """Of ``lambda I + B B'``, from B B' (Woodbury's identity: the metric is ``I - B' (lambda I + B B')^-1 B``)."""
    level = RIDGE * float(np.trace(among)) / len(among)
    return np.asarray(np.linalg.inv(among + max(level, 1e-12) * np.eye(len(among))))


def standardised(statistics: np.ndarray) -> np.ndarray:
    """``[..., C]`` in standard deviations of all candidates from their mean; 0 where all are alike."""
    centred = statistics - statistics.mean(-1, keepdims=True)
    deviation = statistics.std(-1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)
