"""Data-free model extraction, DFME (Truong et al., CVPR 2021): no image of any kind, and many questions.

A generator makes images on which the substitute disagrees with the victim, and the substitute learns the
victim's answers to them. The victim's gradients are estimated with a second question for each (forward
differences, section 3.3), and its logits from its probabilities (section 3.4).
"""

import torch
from torch import Tensor, nn

from zooaudit.seeds import derive
from zooaudit.zoo import heartbeat
from zooaudit.zoo.attacks.asking import Thief
from zooaudit.zoo.fit import DivergedError

LATENT = 64
SIZE = 128
"""Images in a batch."""
STUDENT_STEPS = 5
"""Steps of the substitute for each step of the generator, as in the paper."""
DIFFERENCE = 1e-3
"""Distance of the second question of a forward difference, L2, each pixel in [-1, 1]."""
LR_GENERATOR, LR_STUDENT = 5e-4, 0.03
FEWEST = 1e-7


class Generator(nn.Module):
    """Noise ``[n, LATENT]`` to images ``[n, c, h, w]`` in [-1, 1]: a linear layer, then two
    doublings, as in the paper, narrower."""

    def __init__(self, shape: tuple[int, int, int], width: int = 32) -> None:
        super().__init__()
        channels, height, width_ = shape
        self.start = (width, -(-height // 4), -(-width_ // 4))
        self.first = nn.Linear(LATENT, width * self.start[1] * self.start[2])
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(size=(height, width_)),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels, affine=False),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.first(z).view(-1, *self.start)).tanh()


def inventing(substitute: nn.Module, thief: Thief) -> None:
    """Spend ``config.queries`` on images that a generator makes.

    Raises:
        DivergedError: the substitute's loss became NaN or infinite.
    """
    shape, size = (
        tuple(thief.images.shape[1:]),
        min(SIZE, max(2, thief.config.queries // (STUDENT_STEPS + 2))),
    )
    device = thief.images.device
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(thief.seed, "generator"))
        generator = Generator(shape).to(device)  # type: ignore[arg-type]
    noise = torch.Generator().manual_seed(derive(thief.seed, "noise"))
    rounds = max(1, thief.config.queries // (size * (STUDENT_STEPS + 2)))
    inventor = torch.optim.Adam(generator.parameters(), LR_GENERATOR)
    learner = torch.optim.SGD(substitute.parameters(), LR_STUDENT, 0.9, weight_decay=5e-4)
    falls = [torch.optim.lr_scheduler.CosineAnnealingLR(o, rounds) for o in (inventor, learner)]
    for _ in range(rounds):
        _invent(generator, substitute, thief, inventor, noise, size)
        for _ in range(STUDENT_STEPS):
            _learn(generator, substitute, thief, learner, noise, size)
        for fall in falls:
            fall.step()
    substitute.eval()


def _invent(
    generator: nn.Module,
    substitute: nn.Module,
    thief: Thief,
    optimiser: torch.optim.Optimizer,
    noise: torch.Generator,
    size: int,
) -> None:
    """One step of the generator towards disagreement, along an estimate of its gradient."""
    generator.train()
    substitute.eval()
    device = thief.images.device
    made = generator(torch.randn(size, LATENT, generator=noise).to(device))
    x = made.detach()
    direction = torch.randn(x.shape, generator=noise).to(device)
    direction /= direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        here, there = (
            _disagreement(substitute, thief, at) for at in (x, (x + DIFFERENCE * direction).clamp(-1, 1))
        )
    slope = (there - here) / DIFFERENCE * x[0].numel()
    estimate = slope.view(-1, 1, 1, 1) * direction / size
    optimiser.zero_grad()
    made.backward(-estimate)
    nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
    optimiser.step()
    heartbeat.beat()


def _learn(
    generator: nn.Module,
    substitute: nn.Module,
    thief: Thief,
    optimiser: torch.optim.Optimizer,
    noise: torch.Generator,
    size: int,
) -> None:
    """One step of the substitute towards the victim's answers."""
    generator.train()
    substitute.train()
    with torch.no_grad():
        x = generator(torch.randn(size, LATENT, generator=noise).to(thief.images.device))
    stepped(substitute, optimiser, _disagreement(substitute, thief, x).mean())


def stepped(substitute: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the loss.

    Raises:
        DivergedError: the loss is NaN or infinite.
    """
    if not torch.isfinite(loss):
        raise DivergedError(f"loss is {loss.item()} while the substitutes learn from invented images")
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(substitute.parameters(), 2.0)
    optimiser.step()
    heartbeat.beat()


def _disagreement(substitute: nn.Module, thief: Thief, x: Tensor) -> Tensor:
    """How far ``[n]`` the substitute is from the victim; ``x`` in [-1, 1]."""
    images = (x + 1) / 2
    return apart(substitute(images).float(), thief.victim.ask(images))


def apart(logits: Tensor, shown: Tensor) -> Tensor:
    """L1 distance ``[n]`` of logits from those behind the probabilities that the victim gave, which are
    centred by their means."""
    behind = shown.clamp(min=FEWEST).log()
    return (logits - (behind - behind.mean(1, keepdim=True))).abs().sum(1)
