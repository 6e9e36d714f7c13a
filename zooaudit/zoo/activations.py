"""ELU, PReLU and dropout that are fast on a CPU; the first two equal PyTorch's own up to rounding.

PyTorch's CPU kernels for these (``expm1`` in ELU, the slope's gradient in PReLU, one random number at a time
in dropout) take much of a small network's training time. On other devices, and while a model is being
exported, PyTorch's own are used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def _own_kernels(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.compiler.is_exporting()


class _FastElu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # Below 0, exp(x) - 1 >= x; above, it is clamped to 0
        y = torch.maximum(x, x.clamp(max=0).exp_().sub_(1))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grads[0] * y.clamp(max=0).add_(1)


class _FastPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope.item()
        return F.leaky_relu(x, ctx.slope)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        to_x = torch.ops.aten.leaky_relu_backward(grads[0], x, ctx.slope, False)
        to_slope = (grads[0] * x.clamp(max=0)).sum().reshape(1).float()  # bfloat16 sums accumulate in float32
        return to_x, to_slope


class ELU(nn.Module):
    """ELU with alpha 1: ``x`` above zero, ``exp(x) - 1`` below. Any shape, float32 or bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return _FastElu.apply(x) if _own_kernels(x) else F.elu(x)


class PReLU(nn.Module):
    """PReLU with one learnt slope, 0.25 at first. Any shape, float32 or bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.25]))

    def forward(self, x: Tensor) -> Tensor:
        return _FastPReLU.apply(x, self.slope) if _own_kernels(x) else F.prelu(x, self.slope.to(x.dtype))


class _FastDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        lanes = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        keep = torch.ge(
            lanes[: x.numel()].view(x.shape),
            round(p * 2**16) - 2**15,
            out=torch.empty(x.shape, dtype=torch.int16),
        ).neg_()
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - p)
        return (x.view(torch.int16) & keep).view(torch.bfloat16).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (grads[0].view(torch.int16) & keep).view(torch.bfloat16).mul_(ctx.scale), None


class Dropout(nn.Module):
    """Zeroes each value with probability ``p`` in training, and divides the rest by ``1 - p``. Any shape.

    In bfloat16 on a CPU four values share one 64-bit random number, so ``p`` is accurate to 1 / 65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.p > 0 and x.dtype is torch.bfloat16 and _own_kernels(x):
            return _FastDropout.apply(x, self.p)
        return F.dropout(x, self.p, self.training)


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": ELU, "prelu": PReLU}
