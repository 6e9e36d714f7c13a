"""Image files of odd kinds."""

import struct
import zlib

import numpy as np
import pytest

from tests.support.makers import pixels
from zooaudit.data.decode import decode_image
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.reading_notes import Met
from zooaudit.errors import DataError

COLOURS = pixels(1, channels=3, size=6)[0].transpose(1, 2, 0)


def shown(raw: bytes, reading: Reading = PLAIN, met: Met | None = None) -> np.ndarray:
    """``[h, w, c]``, or ``[h, w]`` of a grey image."""
    image = decode_image(raw, "it", reading, met).permute(1, 2, 0).numpy()
    return image[..., 0] if image.shape[2] == 1 else image


def refused(raw: bytes, expected: str, reading: Reading = PLAIN) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        decode_image(raw, "it", reading)
    assert str(caught.value).startswith("it: ") and "0x" not in str(caught.value)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
