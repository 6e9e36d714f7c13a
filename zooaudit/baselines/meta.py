"""MetaFinger (Yang, Wang and Wang, IJCAI 2022): images that changed copies of a model answer alike, and
independent models otherwise."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.data.images import to_unit

LEAST = 3
"""Independent models that it takes."""
LESSONS = 256
"""Images that copies are fine-tuned on."""


def changed_copies(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> list[nn.Module]:
    """What stands for a thief's versions: two with noise on the weights, two pruned, two fine-tuned.

    Args:
        images: uint8 ``[n, c, h, w]``; ``labels`` int64 ``[n]``.
    """
    generator = torch.Generator().manual_seed(seed)
    noisy = [_noisy(model, 0.1, generator) for _ in range(2)]
    pruned = [_pruned(model, share) for share in (0.2, 0.3)]
    return [*noisy, *pruned, *(_tuned(model, images, labels, generator) for _ in range(2))]


@torch.no_grad()
def _noisy(model: nn.Module, share: float, generator: torch.Generator) -> nn.Module:
    """Gaussian noise on each matrix or kernel of a ``share`` of its standard deviation."""
    made = copy.deepcopy(model)
    for weight in _matrices(made):
        weight.add_(share * weight.std() * torch.randn(weight.shape, generator=generator).to(weight))
    return made.eval()


@torch.no_grad()
def _pruned(model: nn.Module, share: float) -> nn.Module:
    """The smallest ``share`` of each matrix or kernel set to zero."""
    made = copy.deepcopy(model)
    for weight in _matrices(made):
        size = weight.abs()
        weight.masked_fill_(size <= size.flatten().kthvalue(max(1, int(share * weight.numel()))).values, 0.0)
    return made.eval()


def _tuned(model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> nn.Module:
    """One pass of SGD, the statistics of normalisation left as they are."""
    made = copy.deepcopy(model).eval().requires_grad_(True)
    weights = list(made.parameters())
    if not weights:
        return made
    optimiser = torch.optim.SGD(weights, lr=0.01, momentum=0.9)
    for batch in torch.randperm(len(images), generator=generator).split(64):
        optimiser.zero_grad()
        F.cross_entropy(made(to_unit(images[batch])), labels[batch]).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    return made.requires_grad_(False)


def _matrices(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.ndim >= 2 and p.is_floating_point()]


@dataclass(frozen=True)
class MetaFinger:
    """Attributes: sampled: copies, and independent models, that the anchor is compared with at each step; the
    public code has 3. steps, lr: of Adam.
    """

    sampled: int = 1
    steps: int = 30
    lr: float = 0.03

    def points(
        self,
        copies: Sequence[nn.Module],
        strangers: Sequence[nn.Module],
        images: Tensor,
        keep: int,
        seed: int,
    ) -> Tensor:
        """Move float ``images`` ``[n, c, h, w]`` in [0, 1] to where copies agree and strangers do not; keep
        those where it worked best.

        At each step one copy is the anchor: its divergence from other copies falls and that from strangers
        rises, on images that are blurred, moved or noisy, so that a thief who changes his input is found,
        too. The public code's loss, without a margin.

        Args:
            strangers: ``LEAST`` or more independent models; the same ones for every model
                that images are made for.
        """
        generator = torch.Generator().manual_seed(seed)
        x = images.clone().requires_grad_()
        optimiser = torch.optim.Adam([x], self.lr)
        for step in range(self.steps):
            seen = _seen(x, step, generator)
            anchor, *alike = (copies[i](seen) for i in _drawn(len(copies), self.sampled + 1, generator))
            apart = [strangers[i](seen) for i in _drawn(len(strangers), self.sampled, generator)]
            loss = _divergence(anchor, alike) - _divergence(anchor, apart)
            (x.grad,) = torch.autograd.grad(loss, x)
            optimiser.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        return _screened(x.detach(), copies, strangers, keep)


def _divergence(anchor: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Mean Kullback-Leibler divergence of the anchor's answers from others'."""
    reduced = anchor.log_softmax(1)
    return torch.stack(
        [F.kl_div(reduced, logits.softmax(1), reduction="batchmean") for logits in others]
    ).mean()


def _drawn(count: int, most: int, generator: torch.Generator) -> list[int]:
    return [int(i) for i in torch.randperm(count, generator=generator)[:most]]


def _seen(x: Tensor, step: int, generator: torch.Generator) -> Tensor:
    """As it is, noisy, blurred, or moved by up to two pixels, in turn."""
    if step % 4 == 1:
        return (x + 0.05 * torch.randn(x.shape, generator=generator).to(x)).clamp(0, 1)
    if step % 4 == 2:
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    if step % 4 == 3:
        down, right = (int(i) for i in torch.randint(-2, 3, (2,), generator=generator))
        return F.pad(x, (right, -right, down, -down))
    return x


@torch.no_grad()
def _screened(x: Tensor, copies: Sequence[nn.Module], strangers: Sequence[nn.Module], keep: int) -> Tensor:
    """The ``keep`` images whose usual label among the copies most copies and fewest
    strangers give, in their order."""
    by_copies, by_strangers = (
        torch.stack([m(x).argmax(1) for m in models]) for models in (copies, strangers)
    )
    label = by_copies.mode(0).values
    result = (by_copies == label).float().mean(0) - (by_strangers == label).float().mean(0)
    best = result.argsort(descending=True, stable=True)[:keep]
    return x[best.sort().values]
