"""How many images a model takes at a time outside training: many small ones, few large ones, so that memory
stays bounded."""

import math
from collections.abc import Sequence

MOST_VALUES = 500 * 3 * 64 * 64
"""The most pixels in one batch. A convolution's outputs are often ten times as large, so this is about
200 MB of float32."""


def images_at_once(shape: Sequence[int], most: int) -> int:
    """The batch size for a set of ``shape`` ``[n, channels, height, width]`` (or with more leading
    dimensions): at most ``most``, fewer for images larger than 3 x 64 x 64, at least 1."""
    return max(1, min(most, MOST_VALUES // math.prod(shape[-3:])))
