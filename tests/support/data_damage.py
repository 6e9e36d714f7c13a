"""Damage to data."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.makers import pixels, png
from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError

IMAGES, LABELS = pixels(4), [0, 1, 2, 0]
PNGS = [png(i) for i in IMAGES]


def refused(path: Path, *expected: str) -> None:
    np.savez(path.parent / "test.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(DataError) as caught:
        read_dataset(path.parent, "mine")
    for text in (str(path), *expected):
        assert text in str(caught.value), str(caught.value)
