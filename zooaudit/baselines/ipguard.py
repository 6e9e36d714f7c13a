"""IPGuard (Cao, Jia and Gong, ASIA CCS 2021): points near the victim's decision border, and how often a
suspect labels them alike."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MARGINS = (10.0, 5.0, 0.01)
"""Public codes differ in the margin k; none of these is the method's own."""


@dataclass(frozen=True)
class IpGuard:
    """Attributes:
    margin: k; a larger one takes points farther over the border.
    steps, lr: of Adam; a point that is there stays there.
    """

    margin: float
    steps: int = 300
    lr: float = 0.01

    def points(self, victim: nn.Module, images: Tensor, seed: int) -> Tensor:
        """Move each of float ``images`` ``[n, c, h, w]`` in [0, 1] to where label i, its
        own, meets a random label j.

        Minimises ``relu(Z_i - Z_j + k) + relu(max_{t != i, j} Z_t - Z_i)`` on the victim's
        logits Z, clipped to the image range.
        """
        with torch.no_grad():
            first = victim(images)
        label = first.argmax(1, keepdim=True)
        generator = torch.Generator().manual_seed(seed)
        shift = torch.randint(1, first.shape[1], label.shape, generator=generator).to(images.device)
        target = (label + shift) % first.shape[1]
        others = torch.ones_like(first, dtype=torch.bool).scatter_(1, label, False).scatter_(1, target, False)
        x = images.clone().requires_grad_()
        optimiser = torch.optim.Adam([x], self.lr)
        for _ in range(self.steps):
            z = victim(x)
            own, other = z.gather(1, label), z.gather(1, target)
            rest = (
                z.masked_fill(~others, -torch.inf).amax(1, keepdim=True)
                if first.shape[1] > 2
                else torch.full_like(own, -torch.inf)
            )
            loss = (own - other + self.margin).relu() + (rest - own).relu()
            if not loss.any():
                break
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            before, x.grad = x.detach().clone(), gradient
            optimiser.step()
            with torch.no_grad():  # Adam's momentum would carry a point on that has arrived
                x.copy_(torch.where((loss > 0).view(-1, 1, 1, 1), x.clamp(0, 1), before))
        return x.detach()
