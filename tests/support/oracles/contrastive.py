"""The supervised contrastive loss as a double loop over paper equation 7."""

import math
from collections.abc import Sequence


def loss(embeddings: Sequence[Sequence[float]], labels: Sequence[int], temperature: float) -> float:
    """Mean over the anchors of -1/|P(i)| sum_p log( exp(z_i.z_p/tau) / sum_{a != i} exp(z_i.z_a/tau) )."""

    def score(i: int, j: int) -> float:
        return math.exp(sum(a * b for a, b in zip(embeddings[i], embeddings[j], strict=True)) / temperature)

    total = 0.0
    for i in range(len(labels)):
        others = [a for a in range(len(labels)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        below = sum(score(i, a) for a in others)
        for p in positives:
            total -= math.log(score(i, p) / below) / len(positives)
    return total / len(labels)
