"""Dataset Inference (Maini, Yaghini and Papernot, ICLR 2021), black box: does a suspect know the images that
the owner's model learnt?

"Blind Walk": along random noise one gets farther from an image that was learnt before the label is wrong. A
small regressor learns on the owner's model to tell the distances of learnt images from those of others; a
t-test on images that it has not seen decides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from zooaudit.data.images import to_unit
from zooaudit.errors import ConfigError

Ask = Callable[[Tensor], Tensor]
"""Float images ``[n, c, h, w]`` in [0, 1] to answers ``[n, K]``."""
STEPS = 50
"""Of a walk; the sizes of a step, noises and regressor are those of the public code for CIFAR-10."""
LEVEL = 0.01
"""The paper's claim: "with confidence greater than 99 % [...] despite only exposing 50 of
the stolen model's training points"."""
EXPOSED = 50
LESSONS = 400
"""Learnt images, and as many others, that the regressor learns on; the paper has 500."""
NEEDED = LESSONS + EXPOSED
STARTS = 5
"""Directions of each kind of noise; the paper has 10."""


def _laplace(shape: torch.Size, generator: torch.Generator) -> Tensor:
    u = torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6) - 0.5
    return -0.01 * u.sign() * torch.log1p(-2 * u.abs())


NOISES: tuple[tuple[Callable[[torch.Size, torch.Generator], Tensor], float], ...] = (
    (lambda shape, generator: 0.005 * (2 * torch.rand(shape, generator=generator) - 1), float("inf")),
    (lambda shape, generator: 0.005 * torch.randn(shape, generator=generator), 2.0),
    (_laplace, 1.0),
)
"""One step of uniform, Gaussian and Laplace noise, and the norm by which its walks are measured."""


def blind_walk(ask: Ask, images: Tensor, labels: Tensor, seed: int, starts: int = STARTS) -> Tensor:
    """How far from each image along each direction the answer is not its label any more.

    *Ours*: a walk's end is found by bisection, with 8 questions in place of up to 50.

    Args:
        images: float ``[n, c, h, w]`` in [0, 1]; ``labels`` int64 ``[n]``, the true ones.
        seed: of the directions, the same for every model.

    Returns:
        float ``[n, 3 * starts]``; where no step changes the answer, the length of the whole walk.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for noise, norm in NOISES:
        for _ in range(starts):
            step = noise(images.shape, generator).to(images.device)
            ends = _steps(ask, images, labels, step).view(-1, 1, 1, 1)
            way = (images + ends * step).clamp(0, 1) - images
            found.append(torch.linalg.vector_norm(way.flatten(1), norm, dim=1))
    return torch.stack(found, 1)


def _steps(ask: Ask, images: Tensor, labels: Tensor, step: Tensor) -> Tensor:
    """How many steps it takes ``[n]``, 1 to ``STEPS``."""

    def astray(rows: Tensor, counts: Tensor) -> Tensor:
        moved = (images[rows] + counts.view(-1, 1, 1, 1) * step[rows]).clamp(0, 1)
        return ask(moved).argmax(1).to(labels.device) != labels[rows]

    everything = torch.arange(len(images), device=labels.device)
    first, last = torch.ones_like(labels), torch.full_like(labels, STEPS)
    high = torch.where(astray(everything, first), first, last)
    low = torch.where(high == first, 0, torch.where(astray(everything, last), first, last))
    while len(rows := (high - low > 1).nonzero().flatten()):
        middle = (low[rows] + high[rows]) // 2
        wrong = astray(rows, middle)
        low[rows], high[rows] = torch.where(wrong, low[rows], middle), torch.where(wrong, middle, high[rows])
    return high


@dataclass(frozen=True, eq=False)
class Arbiter:
    """What an owner brings to a dispute.

    Attributes:
        learnt, other: images that are exposed, float ``[EXPOSED, c, h, w]``, and their labels.
        mean, spread: of the owner's model's distances to learnt images, ``[features]``.
        regressor: from standardised distances to a number, lower for images that were learnt.
    """

    learnt: tuple[Tensor, Tensor]
    other: tuple[Tensor, Tensor]
    mean: Tensor
    spread: Tensor
    regressor: nn.Module
    seed: int

    @staticmethod
    def of(ask: Ask, learnt: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], seed: int = 0) -> "Arbiter":
        """From the owner's own model.

        Args:
            learnt, other: uint8 images ``[n, c, h, w]`` that the model was trained on and that it was not,
                and their labels int64 ``[n]``; ``NEEDED`` of each are used.

        Raises:
            ConfigError: there are too few.
        """
        for name, (images, _) in (("that the model learnt", learnt), ("that it did not learn", other)):
            if len(images) < NEEDED:
                raise ConfigError(f"Dataset Inference got {len(images)} images {name}; it needs {NEEDED}")
        pairs = [(to_unit(images[:NEEDED]), labels[:NEEDED]) for images, labels in (learnt, other)]
        known, unknown = (
            blind_walk(ask, images[:LESSONS], labels[:LESSONS], seed) for images, labels in pairs
        )
        mean, spread = known.mean(0), known.std(0).clamp_min(1e-8)
        regressor = _regressor((known - mean) / spread, (unknown - mean) / spread, seed)
        exposed, public = ((images[LESSONS:], labels[LESSONS:]) for images, labels in pairs)
        return Arbiter(exposed, public, mean, spread, regressor, seed)

    def p_value(self, ask: Ask) -> float:
        """Of a suspect, by Welch's one-sided t-test: small if it knows the learnt images
        better than the others."""
        learnt, other = (self._told(ask, *pair) for pair in (self.learnt, self.other))
        return welch(learnt, other)

    @torch.no_grad()
    def _told(self, ask: Ask, images: Tensor, labels: Tensor) -> np.ndarray:
        walked = blind_walk(ask, images, labels, self.seed)
        return np.asarray(
            self.regressor((walked - self.mean) / self.spread).squeeze(1).cpu().numpy(), dtype=np.float64
        )


def welch(learnt: np.ndarray, other: np.ndarray) -> float:
    """By Welch's one-sided t-test, how well numbers ``[n]`` and ``[m]`` agree with the
    other's mean not being greater.

    Of two constants, which have no spread, 0 or 1.
    """
    if np.ptp(learnt) == 0 and np.ptp(other) == 0:  # the regressor's outputs end at -1 and 1
        return 0.0 if other[0] > learnt[0] else 1.0
    return float(stats.ttest_ind(other, learnt, equal_var=False, alternative="greater").pvalue)


def _regressor(learnt: Tensor, other: Tensor, seed: int) -> nn.Module:
    """The public code's: one hidden layer of 100, as far apart as it can bring both."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(learnt.shape[1], 100), nn.ReLU(), nn.Linear(100, 1), nn.Tanh()).to(
            learnt.device
        )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(1000):
        loss = (model(learnt).mean() - model(other).mean()) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
