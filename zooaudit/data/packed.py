"""Copy the encoded images of Parquet and Arrow files one after another to a file in the cache, so that each
can be read alone.

A batch for training has random rows: from Parquet itself, each would cost a row group or the pages before it.
"""

import functools
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from zooaudit.data.copies import KEPT, LARGE, RATIO, Copy, Sink, copy_name
from zooaudit.errors import DataError

Images = Iterable[tuple[bytes, str]]
"""Encoded images in order, each with its name."""
ENTRY = np.dtype([("end", "<u8"), ("sum", "<u4")])
"""An entry of the index after the images: where each ends, and its CRC-32."""


@dataclass(frozen=True)
class Packed:
    """Images by number, from files that can be read only from the front; an
    :class:`~zooaudit.data.encoded.Encoded`.

    Attributes:
        copy: the file in the cache.
        paths: the user's files.
        counts: the number of images in each.
        key: distinguishes these images from others in the files.
    """

    copy: Copy
    paths: tuple[str, ...]
    counts: tuple[int, ...]
    key: str

    def __len__(self) -> int:
        return sum(self.counts)

    def read(self, index: int) -> tuple[bytes, str]:
        """The content of one image, and its name for errors."""
        entries = _entries(self.copy, len(self))
        start, end = int(entries["end"][index - 1]) if index else 0, int(entries["end"][index])
        raw, where = self.copy.read(start, end - start), self._where(index)
        if zlib.crc32(raw) != entries["sum"][index]:
            raise DataError(
                f"{where}: its copy in {self.copy.path} is damaged; delete that file, it is made again"
            )
        return raw, where

    def _where(self, index: int) -> str:
        ends = list(accumulate(self.counts))
        file = bisect_right(ends, index)
        return f"{self.paths[file]} row {index - ends[file] + self.counts[file]}"


def packed(
    paths: Sequence[str], counts: Sequence[int], key: str, images: Callable[[], Images], cache: Path
) -> Packed:
    """The images of these files by number; the first time, all are read once and written to ``cache``.

    Args:
        counts: the number of images in each file.
        key: distinguishes these images from others in the files.
        images: yields all of them in order; picklable.

    Raises:
        DataError: they cannot be read, or the disk is full.
    """
    most = max(LARGE, RATIO * sum(Path(path).stat().st_size for path in paths))
    write = functools.partial(_write, images, sum(counts), paths[0])
    copy = Copy(cache / KEPT / copy_name(paths, key), paths[0], write, most)
    return Packed(copy.made(), tuple(paths), tuple(counts), key)


def _write(images: Callable[[], Images], count: int, where: str, sink: Sink) -> None:
    entries = np.zeros(count, ENTRY)
    row = -1
    for row, (raw, _) in enumerate(_no_more(images(), count, where)):
        sink.write(raw)
        entries[row] = sink.size, zlib.crc32(raw)
    if row + 1 != count:
        raise DataError(
            f"{where}: {row + 1:,} images were read of {count:,}; expected all: read it again when nothing"
            " writes to it"
        )
    sink.write(entries.tobytes())


def _no_more(images: Images, count: int, where: str) -> Iterator[tuple[bytes, str]]:
    for row, image in enumerate(images):
        if row >= count:
            raise DataError(
                f"{where} holds more than {count:,} images; expected as many as it says: read it again when"
                " nothing writes to it"
            )
        yield image


@functools.lru_cache(maxsize=8)
def _entries(copy: Copy, count: int) -> np.ndarray:
    size = count * ENTRY.itemsize
    return np.frombuffer(copy.read(copy.size - size, size), ENTRY)
