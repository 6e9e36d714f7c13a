"""What other methods make of answers: victim's and suspect's ``[n, K]`` in, a score out,
higher for a model more like the victim."""

import torch
import torch.nn.functional as F
from torch import Tensor


def matching_rate(victim: Tensor, suspect: Tensor) -> float:
    """Share of images that both label alike, in [0, 1].

    IPGuard (ASIA CCS 2021) on border points; AKH of QuRD (Godinot et al., 2024) on images that the victim
    gets wrong; or on any images.
    """
    return float((victim.argmax(1) == suspect.argmax(1)).float().mean())


def sample_correlation(victim: Tensor, suspect: Tensor) -> float:
    """SAC (Guan, Liang and He, NeurIPS 2022): minus the mean absolute difference of the two
    models' sample correlation matrices.

    ``C_ij`` is the cosine of the answers to images i and j; SAC-w asks about images that
    the victim gets wrong. In [-2, 0].
    """
    return -float((_cosines(victim) - _cosines(suspect)).abs().mean())


def _cosines(answers: Tensor) -> Tensor:
    unit = F.normalize(answers, dim=1)
    return unit @ unit.T


def robustness_distance(victim: Tensor, suspect: Tensor, labels: Tensor) -> float:
    """DeepJudge's RobD (Chen et al., S&P 2022): minus the difference of the two models' accuracies on the
    victim's adversarial examples.

    Args:
        labels: int64 ``[n]``, true classes of the images that they were made from.
    """

    def robust(answers: Tensor) -> float:
        return float((answers.argmax(1) == labels).float().mean())

    return -abs(robust(victim) - robust(suspect))


def jensen_shannon(victim: Tensor, suspect: Tensor) -> float:
    """DeepJudge's JSD: minus the mean Jensen-Shannon divergence (natural logarithm) of the
    answers, in [-log 2, 0]."""
    middle = (victim + suspect) / 2

    def divergence(p: Tensor) -> Tensor:
        return torch.where(p > 0, p * (p / middle).log(), 0.0).sum(1)

    return -float(((divergence(victim) + divergence(suspect)) / 2).mean())


def decision_distance(victim: Tensor, suspect: Tensor) -> float:
    """ModelDiff (Li et al., ISSTA 2021): cosine of the two decision distance vectors, in [0, 1].

    Element i of a model's vector is the cosine distance of its answers to image i and to
    that image's adversarial example.

    Args:
        victim, suspect: ``[2 n, K]``, n images and then their n adversarial examples.
    """

    def vector(answers: Tensor) -> Tensor:
        natural, adversarial = answers.chunk(2)
        return 1 - F.cosine_similarity(natural, adversarial, dim=1)

    return float(F.cosine_similarity(vector(victim), vector(suspect), dim=0))


def raw_cosine(victim: Tensor, suspect: Tensor) -> float:
    """Cosine of two fingerprints as they are, flattened; no encoder."""
    return float(F.cosine_similarity(victim.flatten(), suspect.flatten(), dim=0))
