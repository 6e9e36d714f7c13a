"""How a twin test compares answers with its candidates': statistics by family of questions, cached for the
next suspect."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from torch import Tensor

from zooaudit.errors import ConfigError
from zooaudit.suspects.access import Access
from zooaudit.verdict.examined import (
    FOREIGN,
    LOG,
    NATURAL,
)
from zooaudit.verdict.hub import Hub, hub_of
from zooaudit.verdict.registry import STATISTICS
from zooaudit.verdict.statistic import SHARED, TEMPERATURES, Comparison, features, standardised, tempered
from zooaudit.verdict.twin_data import TwinData

HANDICAP = {NATURAL: 0.0, LOG: 0.0, FOREIGN: 1.0}
"""Standard deviations that are subtracted from a family's statistic before families are compared. On images
of another task one candidate is often nearest to everybody; a thief who asked such images stands out there by
far more."""
DIGITS = 9
"""Decimals that statistics are rounded to: the last bits depend on how many suspects are computed together,
and on the machine."""
MOST_READINGS = 4
"""How many ways of reading answers (access, and whether class by class) keep their comparisons in memory.
Callers may name any, so the number is bounded."""


@dataclass(frozen=True, eq=False)
class TwinComparisons(TwinData):
    """Computes the comparisons of a test when they are first needed."""

    _cache: dict[tuple[Access, bool], dict[tuple[int, str, bool], Comparison]] = field(
        default_factory=dict, init=False, repr=False
    )
    _hubs: dict[tuple[Access, bool, int], Hub] = field(default_factory=dict, init=False, repr=False)
    _left_out: dict[tuple[Access, bool, int], np.ndarray] = field(
        default_factory=dict, init=False, repr=False
    )

    def prepare(self, access: Access) -> None:
        """Compute in advance everything that a verdict needs besides the suspect's answers. Many threads
        share one test; if two compute the same, one result is kept."""
        if self.barred():
            return
        for look in self.looks:
            self.statistics(self.answers[0], access, look)
            self.hub(access, horizon=look)

    @property
    def kept_bytes(self) -> int:
        """Bytes of memory for what was prepared for suspects."""
        return sum(
            comparison.nbytes for kept in list(self._cache.values()) for comparison in list(kept.values())
        )

    def hub(self, access: Access | None = None, by_columns: bool = True, horizon: int | None = None) -> Hub:
        """Whether the victim resembles many models that were not made from it: each reference in turn is
        judged as a suspect."""
        key = (access or Access(), by_columns, horizon or self.budget)
        if key not in self._hubs:
            self._hubs.setdefault(key, hub_of(self._reference_statistics(*key)))
        return self._hubs[key]

    def _reference_statistics(self, access: Access, by_columns: bool, queries: int) -> np.ndarray:
        """Each reference as a suspect, standardised: ``[R, C]``; computed once."""
        key = (access, by_columns, queries)
        if key not in self._left_out:
            found = [(family, c.left_out()) for family, c in self._comparisons(*key)]
            self._left_out.setdefault(key, self._largest_of_families(found))
        return self._left_out[key]

    def ordered(self, order: Sequence[int]) -> Self:
        """The same test with its candidates in another order: the one at ``order[0]`` is the victim."""
        rows = list(order)
        each = {
            name: None if of is None else of[rows]
            for name in ("answers", "predicted", "defended", "defended_predicted")
            for of in (getattr(self, name),)
        }
        behind = None if self.behind is None else self.behind[:, rows]
        candidates = tuple(self.candidates[i] for i in rows)
        changed: dict[str, Any] = {"candidates": candidates, "behind": behind} | each
        found = replace(self, **changed)
        found._left_out.update({key: of[:, rows] for key, of in self._left_out.items()})
        return found

    def single_look(self) -> Self:
        """The same test with its last look only. Both share one cache of comparisons."""
        found = replace(self, looks=self.looks[-1:])
        for kept in ("_cache", "_left_out", "_hubs"):
            object.__setattr__(found, kept, getattr(self, kept))
        return found

    def forget(self) -> None:
        """Drop the comparisons, which take memory; the references' own results are kept."""
        self._cache.clear()

    def statistics(self, answers: Tensor, access: Access, queries: int) -> np.ndarray:
        """Statistics for the first ``queries`` answers ``[..., n, K']``, standardised: ``[..., C]``, the
        victim first."""
        by_columns = answers.shape[-1] == self.num_classes
        found = []
        for family, comparison in self._comparisons(access, by_columns, queries):
            given = features(answers[..., self._rows(family, queries), :], access, by_columns)
            found.append((family, comparison.of(given)))
        return self._largest_of_families(found)

    def cosines(self, answers: Tensor, access: Access, queries: int, family: str = NATURAL) -> np.ndarray:
        """The statistic of one family's questions among the first ``queries`` answers ``[..., n, K]``, before
        it is standardised: ``[..., C]``, each in [-1, 1]; the victim first. It says how much of a candidate
        is in the answers; a verdict compares candidates.

        Raises:
            ConfigError: too few of these questions are of that family.
        """
        if family not in (at := self._families(queries)):
            raise ConfigError(
                f"of {queries} questions too few are {family}; expected one of"
                f" {', '.join(at) or 'more questions'}"
            )
        by_columns = answers.shape[-1] == self.num_classes
        # The candidates' own answers come first, those behind their defence after them.
        comparison = self._comparisons(access, by_columns, queries)[at.index(family)][1]
        return comparison.of(features(answers[..., self._rows(family, queries), :], access, by_columns))

    def weights(self, answers: Tensor, access: Access, queries: int) -> np.ndarray:
        """What each of the first ``queries`` questions contributes to the victim's lead over the mean of its
        twins, negative if it reduces it: ``[queries]``, as shares of the sum of absolute contributions. Only
        for the family with the victim's largest statistic, since that is ranked; the others contribute
        nothing."""
        found: list[np.ndarray] = []
        for family, comparison in self._comparisons(access, True, queries):
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

    def _comparisons(self, access: Access, by_columns: bool, queries: int) -> list[tuple[str, Comparison]]:
        """One comparison for each family of questions; with a defence a second one each. Cached."""
        kept = self._cached(access, by_columns)
        found = []
        for defended in (False, True) if self.defended is not None else (False,):
            for family in self._families(queries):
                key = (queries, family, defended)
                if key not in kept:
                    rows = self._rows(family, queries)
                    kept.setdefault(key, self._comparison(rows, access, by_columns, defended))
                found.append((family, kept[key]))
        return found

    def _comparison(
        self, questions: list[int], access: Access, by_columns: bool, defended: bool
    ) -> Comparison:
        """Candidates are described by their full answers, or by their defence's, which the owner sees.
        References are reduced to what the suspect's interface gives."""

        def as_interface_tells(answers: Tensor) -> np.ndarray:
            return features(answers, access, by_columns)

        answers, predicted_answers = self.answers, self.predicted
        if defended and self.defended is not None:
            answers, predicted_answers = self.defended, self.defended_predicted
        own, others = answers[:, questions], self.reference_answers[:, questions]
        ways = (
            [] if access.kind == "label" else [(tempered(own, t), tempered(others, t)) for t in TEMPERATURES]
        )
        if not defended and self.behind is not None and self.reference_behind is not None:
            ways += zip(self.behind[:, :, questions], self.reference_behind[:, :, questions], strict=True)
        rows = [as_interface_tells(others), *(as_interface_tells(changed) for _, changed in ways)]
        shared = [
            as_interface_tells(changed).mean(0, keepdims=True)
            for changed, _ in ([] if access == Access() else [(own, own)]) + ways
        ]
        groups = [r.source or r.id for r in self.references] * len(rows) + [SHARED] * len(shared)
        predicted = None
        if predicted_answers is not None:
            predicted = features(predicted_answers[:, questions], Access(), by_columns)
        kind = STATISTICS[self.statistic]
        return kind(
            features(own, Access(), by_columns),
            np.concatenate([*rows, *shared]),
            len(others),
            tuple(groups),
            predicted,
        )

    def _cached(self, access: Access, by_columns: bool) -> dict[tuple[int, str, bool], Comparison]:
        """The comparisons of one reading; the least recently used reading is dropped. Each operation on the
        dictionary is atomic, since many threads share it."""
        kept = self._cache.pop((access, by_columns), {})
        kept = self._cache.setdefault((access, by_columns), kept)
        for oldest in list(self._cache)[:-MOST_READINGS]:
            self._cache.pop(oldest, None)
        return kept

    def _largest_of_families(self, of_families: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
        """Combine the statistics ``[..., C]`` of several families of questions: for each candidate the
        largest, standardised before and after."""
        found = [standardised(statistics) - HANDICAP[family] for family, statistics in of_families]
        return standardised(np.max(found, axis=0)).round(DIGITS)
