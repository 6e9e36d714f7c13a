"""A victim that defends itself against extraction: it changes its answers, so that a thief learns less from
them.

Reverse sigmoid (Lee et al., 2018): answers become less sure by a function that cannot be inverted. MAD,
maximising angular deviation (Orekondy et al., ICLR 2020): within a budget, the victim gives the answer whose
gradient, in a surrogate of the thief's model, has the largest angle with the gradient of the true answer;
MAD-argmax keeps the most probable class.

*Ours*: the surrogate is a small untrained net, the same for every victim, and only the gradients of its last
layer are used. They are (surrogate's answer - given answer) times the layer's input, so the angle is that of
the first factors alone: no Jacobian is needed. The paper searches among the corners of all allowed answers;
for MAD-argmax we search only corners in which the most probable class is alone, or shares with one other.

The auditor's side: a thief learnt the defence's answers, so a kit whose recipe names the defence
(``twin_test.defence``) holds these answers of all candidates in addition to their own, and compares with
both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from zooaudit.config import Defence, ExtractConfig
from zooaudit.seeds import derive
from zooaudit.suspects.blackbox import BlackBox

BETA, GAMMA = 1.0, 0.2
"""The reverse sigmoid's parameters: how much is subtracted, and how fast that grows with the logit."""
CERTAIN = 1e-7
"""Probabilities are clipped to this distance from 0 and 1 before taking logits."""
SHARED = 0.49
"""In an answer that two classes share, the other class's part: rounding to two decimals does not make it a
tie."""
SIDE, HIDDEN = 8, 64
"""The surrogate's input is means on a grid with this many cells on a side, and its hidden layer has this
width."""
NUMBERS_AT_ONCE = 4_000_000


class Defended:
    """A black box that changes its answers before it returns them; its queries are those of the victim behind
    it."""

    def __init__(self, victim: BlackBox, config: ExtractConfig) -> None:
        self._victim, self._config = victim, config

    @property
    def queries(self) -> int:
        return self._victim.queries

    def ask(self, images: Tensor) -> Tensor:
        """As :meth:`BlackBox.ask`."""
        return shown(images, self._victim.ask(images), self._config.defence, self._config.defence_budget)


def defended(victim: BlackBox, config: ExtractConfig) -> BlackBox:
    """The victim behind ``config.defence``; the victim itself without one."""
    return victim if config.defence == "none" else Defended(victim, config)


def shown(images: Tensor, answers: Tensor, defence: Defence, budget: float = 1.0) -> Tensor:
    """A defence's answers in place of ``answers`` ``[n, K]`` to float images ``[n, c, h, w]`` in [0, 1]."""
    if defence == "none":
        return answers
    if defence == "reverse-sigmoid":
        return reverse_sigmoid(answers)
    return mad(answers, beginner(images, answers.shape[1]), budget, defence == "mad-argmax")


def reverse_sigmoid(answers: Tensor, beta: float = BETA, gamma: float = GAMMA) -> Tensor:
    """``y - beta * (sigmoid(gamma * logit(y)) - 1/2)``, normalised to sum to 1.

    For probabilities ``[n, K]``. The most probable class usually stays the same; if the victim is unsure it
    may change, as in the paper.
    """
    logits = answers.clamp(CERTAIN, 1 - CERTAIN).logit()
    changed = (answers - beta * ((gamma * logits).sigmoid() - 0.5)).clamp(min=0)
    return changed / changed.sum(1, keepdim=True)


def mad(answers: Tensor, surrogate: Tensor, budget: float, keep_label: bool = False) -> Tensor:
    """Move towards each corner as far as the budget allows; return the answer that deviates most.

    Args:
        answers: the victim's probabilities ``[n, K]``.
        surrogate: the surrogate's, for the same images.
        budget: largest L1 distance between the given and the true answer, in (0, 2].
        keep_label: whether the most probable class must stay the same.
    """
    rows = max(1, NUMBERS_AT_ONCE // answers.shape[1] ** 2)
    parts = zip(answers.split(rows), surrogate.split(rows), strict=True)
    return torch.cat([_turned(a, s, budget, _corners(a, keep_label)) for a, s in parts])


def deviation(surrogate: Tensor, true: Tensor, shown: Tensor) -> Tensor:
    """Angle in radians between the gradients that two answers give the surrogate's last layer, over the last
    dimension."""
    return F.cosine_similarity(surrogate - true, surrogate - shown, dim=-1).clamp(-1, 1).acos()


def beginner(images: Tensor, classes: int) -> Tensor:
    """The surrogate's probabilities ``[n, classes]`` of float images ``[n, c, h, w]`` in [0, 1]."""
    seen = F.adaptive_avg_pool2d(images, SIDE).flatten(1) - 0.5
    generator = torch.Generator().manual_seed(derive(0, "surrogate"))
    first, last = (
        _layer(inputs, outputs, generator).to(images)
        for inputs, outputs in ((seen.shape[1], HIDDEN), (HIDDEN, classes))
    )
    return ((seen @ first).relu() @ last).softmax(1)


def _layer(inputs: int, outputs: int, generator: torch.Generator) -> Tensor:
    return torch.randn(inputs, outputs, generator=generator) * (2 / inputs) ** 0.5


def _corners(answers: Tensor, keep_label: bool) -> Tensor:
    """``[n, K, K]``: for each row K answers of one class, or of the most probable one with each other."""
    one = torch.eye(answers.shape[1], device=answers.device, dtype=answers.dtype)
    if not keep_label:
        return one.expand(len(answers), -1, -1)
    return (1 - SHARED) * one[answers.argmax(1)].unsqueeze(1) + SHARED * one


def _turned(answers: Tensor, surrogate: Tensor, budget: float, corners: Tensor) -> Tensor:
    true = answers.unsqueeze(1)
    share = (budget / (corners - true).abs().sum(2, keepdim=True).clamp(min=CERTAIN)).clamp(max=1)
    reached = true + share * (corners - true)
    best = deviation(surrogate.unsqueeze(1), true, reached).argmax(1)
    return reached[torch.arange(len(answers), device=answers.device), best]
