"""Convert images in [0, 1] to a model's input: a differentiable module from the input part of a contract.

Resizing uses Pillow's filters in floating point. A pipeline that resizes 8-bit images, as Pillow does, rounds
twice, so its pixels differ from these by up to 2 / 255.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zooaudit.errors import ConfigError
from zooaudit.suspects.contract import Input

GREY = (0.299, 0.587, 0.114)
"""ITU-R 601, as Pillow's ``L`` and torchvision's ``Grayscale``."""
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "float64": torch.float64,
    "uint8": torch.uint8,
    "int8": torch.int8,
}
BOUNDS = {"uint8": (0, 255), "int8": (-128, 127)}


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (lambda x: _sinc(x) * _sinc(x / 3) if abs(x) < 3 else 0.0, 3.0),
    "box": (lambda x: 1.0 if -0.5 < x <= 0.5 else 0.0, 0.5),
    "hamming": (lambda x: _sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if abs(x) < 1 else 0.0, 1.0),
}
"""Each kernel, and half its width, as in Pillow's Resample.c."""
OVERSHOOTS = ("bicubic", "lanczos")


def kernel(size: int, out: int, filter_: str, antialias: bool) -> Tensor:
    """The matrix float32 ``[out, size]`` that resizes a line of pixels."""
    ratio = size / out
    weights = torch.zeros(out, size, dtype=torch.float64)
    if filter_ == "nearest":  # in Pillow's steps, whose rounding decides ties
        places = torch.full((out,), ratio, dtype=torch.float64)
        places[0] = ratio * 0.5
        weights[torch.arange(out), places.cumsum(0).long().clamp(max=size - 1)] = 1
        return weights.float()
    shape, support = FILTERS[filter_]
    widened = max(ratio, 1.0) if antialias else 1.0
    for i in range(out):
        centre = (i + 0.5) * ratio
        first, last = (
            max(0, int(centre - support * widened + 0.5)),
            min(size, int(centre + support * widened + 0.5)),
        )
        line = torch.tensor(
            [shape((j - centre + 0.5) / widened) for j in range(first, last)], dtype=torch.float64
        )
        weights[i, first:last] = line / line.sum()
    return weights.float()


class Preprocess(nn.Module):
    """Applies a contract's ``Input``.

    Args:
        input_: all that is to be applied.
        image_shape: (channels, height, width) of the images.

    Raises:
        ConfigError: the images and the contract do not fit together.
    """

    def __init__(self, input_: Input, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.input, self.image_shape = input_, image_shape
        channels, height, width = image_shape
        self.grey = input_.channels == "grey" and channels == 3
        self.colours = input_.channels in ("rgb", "bgr") and channels == 1
        self.wanted = 1 if self.grey else 3 if self.colours else channels
        self._across(height, width)
        low, high = input_.range or (
            (0.0, 255.0) if input_.dtype == "uint8" and not input_.scale else (0.0, 1.0)
        )
        self.low, self.high = float(low), float(high)
        for name in ("mean", "std"):
            values = getattr(input_, name)
            if len(values) not in (0, 1, self.wanted):
                raise ConfigError(_many(name, len(values), self.wanted))
            self.register_buffer(
                name, torch.tensor(values).view(-1, 1, 1) if values else None, persistent=False
            )
        self.mean: Tensor | None
        self.std: Tensor | None

    def _across(self, height: int, width: int) -> None:
        """Prepare the resizing matrices and the crop."""
        size, stated = self.input.size, self.input
        self.size = (size[0], size[-1]) if size else (height, width)
        to = stated.resize_to or self.size
        if stated.resize == "crop" or (
            not stated.resize and not stated.resize_to and self.size == (height, width)
        ):
            between = (height, width)
        elif stated.resize == "shorter" or (stated.resize == "" and height * to[-1] == width * to[0]):
            between = shorter(height, width, min(to))
        elif stated.resize == "squash":
            between = (to[0], to[-1])
        else:
            raise ConfigError(
                f"images of {height} x {width} become {self.size[0]} x {self.size[1]} by squashing them or by"
                " cropping the middle; choose by --contract input.resize=squash or"
                " input.resize=shorter"
            )
        self.between = between
        if between[0] < self.size[0] or between[1] < self.size[1]:
            found = f"{between[0]} x {between[1]}"
            raise ConfigError(
                f"input.size {self.size[0]} x {self.size[1]} cannot be cropped from {found}; make"
                " input.resize_to larger"
            )
        filter_, antialias = stated.filter or "bilinear", stated.antialias is not False
        for name, old, new in (("down", height, between[0]), ("along", width, between[1])):
            self.register_buffer(
                name, kernel(old, new, filter_, antialias) if old != new else None, persistent=False
            )
        self.down: Tensor | None
        self.along: Tensor | None
        self.top, self.left = (
            (b - s) // 2 if stated.cut == "floor" else round((b - s) / 2.0)
            for b, s in zip(between, self.size, strict=True)
        )

    @property
    def changes(self) -> bool:
        """Whether the model gets anything else than the images themselves, float32 ``[n, c, h, w]`` in [0,
        1]."""
        stated = self.input
        plain = stated.layout in ("", "nchw") and stated.dtype in ("", "float32") and not stated.batch
        same = (self.low, self.high) == (0.0, 1.0) and self.mean is None and self.std is None
        size = self.down is None and self.along is None and self.size == self.image_shape[1:]
        return not (
            plain
            and same
            and size
            and not self.grey
            and not self.colours
            and not (stated.channels == "bgr" and self.wanted == 3)
        )

    @property
    def pixels(self) -> int:
        """How many numbers an image has in the model's input."""
        return self.wanted * self.size[0] * self.size[1]

    def forward(self, images: Tensor) -> Tensor:
        """Convert float images ``[n, c, h, w]`` in [0, 1] to the model's input, in its layout and dtype."""
        return self.numbers(self.geometry(images))

    def geometry(self, images: Tensor) -> Tensor:
        """Convert channels and size only: still float ``[n, c', h', w']`` in [0, 1], as a PNG could hold
        it."""
        x = images
        if self.grey:
            x = (x * x.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        elif self.colours:
            x = x.expand(-1, 3, -1, -1)
        elif self.input.channels == "bgr" and self.wanted == 3:
            x = x.flip(1)
        if self.along is not None:
            x = x @ self.along.T
        if self.down is not None:
            x = self.down @ x
        if (self.along is not None or self.down is not None) and self.input.filter in OVERSHOOTS:
            x = x.clamp(0, 1)
        height, width = self.size
        return x[..., self.top : self.top + height, self.left : self.left + width]

    def numbers(self, x: Tensor) -> Tensor:
        """Convert the result of ``geometry`` to the model's range, dtype and layout."""
        if (self.low, self.high) != (0.0, 1.0):
            x = x * (self.high - self.low) + self.low
        if self.mean is not None:
            x = x - self.mean
        if self.std is not None:
            x = x / self.std
        x = self._typed(x)
        if self.input.layout == "nhwc":
            return x.permute(0, 2, 3, 1).contiguous()
        return x.flatten(1) if self.input.layout == "flat" else x

    def _typed(self, x: Tensor) -> Tensor:
        dtype = self.input.dtype
        if dtype in BOUNDS:
            low, high = BOUNDS[dtype]
            scaled = x / self.input.scale + self.input.zero_point if self.input.scale else x
            return scaled.round().clamp(low, high).to(DTYPES[dtype])
        return x if dtype in ("", "float32") else x.to(DTYPES[dtype])


def _many(name: str, count: int, channels: int) -> str:
    expected = "1" if channels == 1 else f"1, or one for each of the model's {channels} channels"
    grey = (
        "; these images are grey, state that the model takes colours: input.channels=rgb"
        if channels == 1 and count == 3
        else ""
    )
    return f"input.{name} has {count} numbers; expected {expected}{grey}"


def shorter(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width when the shorter side becomes ``side``, rounded down as in torchvision and
    transformers."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side
