"""IrisFP (Geng et al., CVPR 2026): points near where all classes meet, a few of them a fingerprint."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEAR = 0.01
"""L-inf distance within which the samples of one fingerprint begin."""


@dataclass(frozen=True)
class Iris:
    """Attributes:
    samples: of one fingerprint.
    margin: by how much the target's logit is to be over the mean of the others, which are to be equal.
    steps, lr: of Adam.
    """

    samples: int = 4
    margin: float = 1.0
    steps: int = 100
    lr: float = 0.01

    def points(self, model: nn.Module, images: Tensor, seed: int) -> Tensor:
        """Move copies of each of float ``images`` ``[n, c, h, w]`` in [0, 1] to where a random class is
        hardly likelier than all others.

        Returns:
            float ``[samples * n, c, h, w]``, those of a fingerprint after one another.
        """
        generator = torch.Generator().manual_seed(seed)
        x = images.repeat_interleave(self.samples, 0)
        near = NEAR * (2 * torch.rand(x.shape, generator=generator) - 1).to(x.device)
        x = (x + near).clamp(0, 1).requires_grad_()
        with torch.no_grad():
            classes = model(images[:1]).shape[1]
        target = (
            torch.randint(classes, (len(images),), generator=generator)
            .to(images.device)
            .repeat_interleave(self.samples)
        )
        chosen = F.one_hot(target, classes).bool()
        optimiser = torch.optim.Adam([x], self.lr)
        for _ in range(self.steps):
            logits = model(x)
            others = logits[~chosen].view(len(x), -1)
            apart = others - others.mean(1, keepdim=True)
            over = logits[chosen] - others.mean(1)
            loss = apart.square().mean(1) + (over - self.margin).square()
            (x.grad,) = torch.autograd.grad(loss.sum(), x)
            optimiser.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        return x.detach()
