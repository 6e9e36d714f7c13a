"""Whether a kit's twins, whose weights are not shown, are draws of the procedure that trained the checker's
twins."""

from collections.abc import Sequence

import torch
from scipy import stats
from torch import Tensor

from zooaudit.evidence.checks import Finding
from zooaudit.verdict.examined import NATURAL, Candidate
from zooaudit.verdict.exchangeable import mean_squared
from zooaudit.verdict.grouping import groups
from zooaudit.verdict.twin_test import TwinTest

REJECT = 0.01
"""Chance that twins that are draws of the procedure are rejected, over all numbers compared."""
FEWEST = 3


def stated_twins(test: TwinTest, candidates: Sequence[Candidate], answers: Tensor) -> Finding:
    """Compare the kit's twins with fresh ones by rank sums, number by number.

    Each number belongs to one twin and treats all twins alike, the kit's and the fresh ones. So if all are
    draws of one procedure, the kit's are a random subset, and the rank sums have their usual distribution.

    Args:
        test: the kit's.
        candidates: the victim first, then the fresh twins.
        answers: float32 ``[m + 1, Q, K]``, theirs.
    """
    name, stated, fresh = "stated twins", test.twins, len(candidates) - 1
    if stated < FEWEST:
        return Finding(name, None, f"the kit has {stated} twins, too few to be compared")
    rows = [i for i, family in enumerate(test.families) if family == NATURAL]
    twins = torch.cat([test.answers[1:, rows], answers[1:, rows]])
    roots = twins.clamp(min=0).sqrt().flatten(1).double()
    victim = answers[:1, rows].clamp(min=0).sqrt().flatten(1).double()
    numbers = {
        "accuracy": [c.accuracy for c in (*test.candidates[1:], *candidates[1:])],
        "accuracy on the questions": (
            (twins.argmax(-1) == groups(test.num_classes)[test.labels[rows]]).double().mean(-1).tolist()
        ),
        "confidence": twins.amax(-1).double().mean(-1).tolist(),
        "mean distance to all twins": mean_squared(roots, roots).mean(1).tolist(),
        "distance to the victim": mean_squared(roots, victim)[:, 0].tolist(),
    }
    p = {
        k: float(stats.mannwhitneyu(v[:stated], v[stated:], alternative="two-sided").pvalue)
        for k, v in numbers.items()
    }
    least = min(p, key=lambda k: p[k])
    overall = min(1.0, len(p) * p[least])
    own, others = (sum(v) / len(v) for v in (numbers[least][:stated], numbers[least][stated:]))
    text = (
        f"the kit's {stated} and {fresh} fresh ones differ most in {least}, mean {own:.4g} and {others:.4g}:"
        f" p {overall:.2g} over {len(p)} numbers, rejected at {REJECT:g}"
    )
    return Finding(name, overall > REJECT, text)
