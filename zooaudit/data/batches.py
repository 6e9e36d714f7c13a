"""How many images a model takes at once when nothing is learnt: many small ones, few large
ones, so that memory stays bounded."""

import math
from collections.abc import Sequence

MOST_VALUES = 500 * 3 * 64 * 64
"""In one batch. A convolution's outputs are often ten times as large, so that this is some
200 MB of float32."""


def images_at_once(shape: Sequence[int], most: int) -> int:
    """Images of one batch, of a set of ``shape`` ``[n, channels, height, width]`` (or more leading
    dimensions): at most ``most``, fewer if they are larger than 3 x 64 x 64, at least 1."""
    return max(1, min(most, MOST_VALUES // math.prod(shape[-3:])))
