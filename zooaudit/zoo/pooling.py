"""2 x 2 max-pooling that is fast on a CPU, bit for bit equal to PyTorch's own.

PyTorch's CPU kernel keeps 64-bit indices and scatters through them one by one; in training
that takes a third of a small network's time. On other devices, in evaluation, and while a
model is being exported, PyTorch's own is used.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Kernel = Callable[..., None]

_INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
"""Integer types with the size of these floats."""


class MaxPool2x2(nn.Module):
    """Maxima over 2 x 2 windows: ``[n, c, h, w]`` to ``[n, c, h // 2, w // 2]``; NaN wins, and the first of
    equals takes the gradient (PyTorch treats 0.0 and -0.0 as equal; here -0.0 is smaller)."""

    def forward(self, x: Tensor) -> Tensor:
        return _MaxPool.apply(x) if _own_kernel(x) else F.max_pool2d(x, 2)


def _own_kernel(x: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return False
    return x.device.type == "cpu" and x.dtype in _INTEGERS and x.requires_grad and torch.is_grad_enabled()


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        size, integer = (n, h // 2, w // 2, c), _INTEGERS[x.dtype]
        largest, place = torch.empty(size, dtype=x.dtype), torch.empty(size, dtype=integer)
        _kernels(x.dtype)[0](_channels_last(x), largest.view(integer).numpy(), place.numpy())
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        return largest.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        n, c, h, w = ctx.shape
        odd = h % 2 or w % 2  # the last row or column is outside all windows
        to_x = (torch.zeros if odd else torch.empty)((n, h, w, c), dtype=grads[0].dtype)
        _kernels(grads[0].dtype)[1](_channels_last(grads[0]), place.numpy(), to_x.view(place.dtype).numpy())
        return to_x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> np.ndarray[Any, Any]:
    """``[n, c, h, w]`` as an integer array ``[n, h, w, c]``, without a copy if memory has that order."""
    found: np.ndarray[Any, Any] = x.detach().permute(0, 2, 3, 1).contiguous().view(_INTEGERS[x.dtype]).numpy()
    return found


@functools.cache
def _kernels(dtype: torch.dtype) -> tuple[Kernel, Kernel]:
    """Forward and backward on the bits of ``dtype``, compiled at their first call. Every step is cast back,
    since Numba widens to 64 bits."""
    import numba  # here, since it takes a second that only training needs

    half = dtype == torch.bfloat16
    integer: type[np.signedinteger[Any]] = np.int16 if half else np.int32
    sign, magnitude, infinity = map(integer, (15, 0x7FFF, 0x7F80) if half else (31, 0x7FFFFFFF, 0x7F800000))

    @numba.njit(nogil=True, inline="always")
    def swapped(bits):  # type: ignore[no-untyped-def]
        """Integers in the order of the floats, from their bits; and back."""
        return integer(bits ^ integer(integer(bits >> sign) & magnitude))

    @numba.njit(nogil=True, inline="always")
    def ordered(bits):  # type: ignore[no-untyped-def]
        return magnitude if integer(bits & magnitude) > infinity else swapped(bits)  # NaN is above all

    @numba.njit(nogil=True)
    def forward(x, largest, place):  # type: ignore[no-untyped-def]
        n, h, w, channels = largest.shape
        for i in range(n):
            for r in range(h):
                for s in range(w):
                    for k in range(channels):
                        a, b = ordered(x[i, 2 * r, 2 * s, k]), ordered(x[i, 2 * r, 2 * s + 1, k])
                        c, d = ordered(x[i, 2 * r + 1, 2 * s, k]), ordered(x[i, 2 * r + 1, 2 * s + 1, k])
                        top = max(max(a, b), max(c, d))
                        place[i, r, s, k] = (
                            integer(0)
                            if a == top
                            else (integer(1) if b == top else integer(2) if c == top else integer(3))
                        )
                        largest[i, r, s, k] = swapped(top)

    @numba.njit(nogil=True)
    def backward(grad, place, to_x):  # type: ignore[no-untyped-def]
        n, h, w, channels = grad.shape
        for i in range(n):
            for r in range(h):
                for s in range(w):
                    for k in range(channels):
                        g, p = grad[i, r, s, k], place[i, r, s, k]
                        to_x[i, 2 * r, 2 * s, k] = g if p == 0 else integer(0)
                        to_x[i, 2 * r, 2 * s + 1, k] = g if p == 1 else integer(0)
                        to_x[i, 2 * r + 1, 2 * s, k] = g if p == 2 else integer(0)
                        to_x[i, 2 * r + 1, 2 * s + 1, k] = g if p == 3 else integer(0)

    return forward, backward
