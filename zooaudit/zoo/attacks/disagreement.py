"""Data-free model extraction guided by disagreement, DisGUIDE (Rosenthal et al., AAAI 2023): no image of any
kind, and labels are enough.

Two substitutes learn. A generator makes images on which they disagree, and to which together they give many
labels. It needs only gradients of the substitutes, which the thief has, so no question is spent on the
victim's gradients, unlike in DFME. All answers are stored and learnt from again.

*Ours*: images have whole pixel values, like those that a service receives; the generator takes one step for
each batch of questions.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.compute import seeded
from zooaudit.data.images import to_unit
from zooaudit.seeds import derive
from zooaudit.zoo import heartbeat
from zooaudit.zoo.arch import begin_anew
from zooaudit.zoo.attacks.asking import Thief
from zooaudit.zoo.attacks.data_free import LATENT, LR_GENERATOR, LR_STUDENT, SIZE, Generator, apart, stepped

FEWEST_ROUNDS = 8
"""Batches are smaller if there are few questions."""
DIVERSITY = 0.2
"""Weight of the diversity of labels relative to the disagreement."""
REPLAYED = 3
"""Steps on batches of earlier answers, after the one on new answers."""
KEPT_BYTES = 2**28
"""How many earlier questions are stored; the newest are kept."""


@dataclass
class Replay:
    """A ring buffer of earlier questions, uint8, and their answers."""

    images: Tensor
    targets: Tensor
    put_in: int = 0

    @staticmethod
    def like(images: Tensor, targets: Tensor, most: int) -> "Replay":
        """An empty buffer for ``most`` such images, or as many as memory allows."""
        room = max(len(images), min(most, KEPT_BYTES // max(1, images[0].numel())))
        return Replay(images.new_empty(room, *images.shape[1:]), targets.new_empty(room, *targets.shape[1:]))

    def put(self, images: Tensor, targets: Tensor) -> None:
        places = (torch.arange(len(images), device=images.device) + self.put_in) % len(self.images)
        self.images[places], self.targets[places] = images, targets
        self.put_in += len(images)

    def drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``count`` of them, with replacement."""
        places = torch.randint(min(self.put_in, len(self.images)), (count,), generator=generator).to(
            self.images.device
        )
        return self.images[places], self.targets[places]


def disagreeing(substitute: nn.Module, thief: Thief) -> None:
    """Spend ``config.queries`` on images that a generator makes for two substitutes; the first is the result.

    Raises:
        DivergedError: a substitute's loss became NaN or infinite.
    """
    queries, shape = thief.config.queries, tuple(thief.images.shape[1:])
    size = min(SIZE, queries // FEWEST_ROUNDS)
    with seeded(derive(thief.seed, "generator"), thief.images.device):
        generator = Generator(shape).to(thief.images.device)  # type: ignore[arg-type]
        begin_anew(second := copy.deepcopy(substitute))
    pair, noise = (substitute, second), torch.Generator().manual_seed(derive(thief.seed, "noise"))
    inventor = torch.optim.Adam(generator.parameters(), LR_GENERATOR)
    learners = [torch.optim.SGD(m.parameters(), LR_STUDENT, 0.9, weight_decay=5e-4) for m in pair]
    rounds = queries // size
    falls = [torch.optim.lr_scheduler.CosineAnnealingLR(o, rounds) for o in (inventor, *learners)]
    replay = None
    for _ in range(rounds):
        images = _invented(
            generator, pair, inventor, torch.randn(size, LATENT, generator=noise).to(thief.images.device)
        )
        targets = thief.ask(images)
        replay = replay or Replay.like(images, targets, queries)
        replay.put(images, targets)
        for x, result in ((images, targets), *(replay.drawn(size, noise) for _ in range(REPLAYED))):
            for model, learner in zip(pair, learners, strict=True):
                _learn(model, learner, x, result, exact=thief.config.labels == "soft")
        for fall in falls:
            fall.step()
    substitute.eval()


def _invented(
    generator: nn.Module, pair: tuple[nn.Module, nn.Module], optimiser: torch.optim.Optimizer, noise: Tensor
) -> Tensor:
    """Images uint8 from the generator, which also takes one step."""
    generator.train()
    made = (generator(noise) + 1) / 2
    first, second = (model.eval()(made).float().softmax(1) for model in pair)
    loss = -disagreement(first, second) - DIVERSITY * diversity((first + second) / 2)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
    optimiser.step()
    heartbeat.beat()
    return (made.detach() * 255).round().to(torch.uint8)


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Standard deviation of the two substitutes' probabilities ``[n, K]`` from their mean, summed over
    classes: in [0, 1]."""
    return (first - second).abs().sum(1).mean() / 2


def diversity(answers: Tensor) -> Tensor:
    """Entropy of the mean of probabilities ``[n, K]``, as a share of its maximum: 1 if all classes are
    equally frequent."""
    mean = answers.mean(0)
    return -(mean * mean.clamp(min=1e-9).log()).sum() / math.log(len(mean))


def _learn(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, reduced: Tensor, exact: bool
) -> None:
    """One step towards the victim's answers: its logits if it gave exact probabilities, else by
    cross-entropy."""
    logits = model.train()(to_unit(images)).float()
    stepped(model, optimiser, apart(logits, reduced).mean() if exact else F.cross_entropy(logits, reduced))
