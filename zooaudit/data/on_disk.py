"""Images that do not fit in memory: decoded when they are first asked for, and kept decoded in a file.

Whoever trains asks for batches, in an order of his own; nothing waits until everything is decoded. From the
second time on, an image is read from the file, which takes a fraction of the time. Several processes may
share the file: all would write the same.
"""

import functools
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zooaudit.data.decode import refuse_too_much
from zooaudit.data.encoded import Encoded, content_digest
from zooaudit.data.messages import short
from zooaudit.errors import DataError

AHEAD = 3
"""Batches that are read while one is used."""
DECODERS = min(4, max(2, os.cpu_count() or 1))
"""Threads that decode at once in a process. More than there are cores wait for one another: only Pillow's
decoder lets others run."""
Decode = Callable[[bytes, str], Tensor]


class ImagesOnDisk:
    """Acts as a uint8 tensor ``[n, c, h, w]`` that can be indexed by tensors of numbers and
    by slices, and cannot be changed.

    Args:
        encoded: the images.
        decode: gives uint8 ``[c, h, w]`` of one; picklable.
        shape: (c, h, w), which all have to have.
        kept: where decoded images are kept: a file of this name, and one beside it; None
            where they are made again each time.
        device: where batches are put.
        rows: which of the images these are, in order; all by default.
        how: what else than the files decides the pixels, for the digest.
    """

    __iter__ = None
    dtype = torch.uint8
    ndim = 4

    def __init__(
        self,
        encoded: Encoded,
        decode: Decode,
        shape: tuple[int, int, int],
        kept: Path | None,
        device: torch.device | str = "cpu",
        rows: Tensor | None = None,
        how: str = "",
    ) -> None:
        self._encoded, self._decode, self._kept, self._how = encoded, decode, kept, how
        self._rows = torch.arange(len(encoded)) if rows is None else rows
        self.device = torch.device(device)
        self.shape = torch.Size((len(self._rows), *shape))

    def __len__(self) -> int:
        return len(self._rows)

    def numel(self) -> int:
        return self.shape.numel()

    def size(self) -> torch.Size:
        return self.shape

    @property
    def digest(self) -> str:
        """Changes with the content of the encoded images, with their order, and with how they are decoded."""
        rows = hashlib.sha256(self._rows.numpy().tobytes()).hexdigest()
        return hashlib.sha256(
            f"{content_digest(self._encoded)} {tuple(self.shape)} {rows} {self._how}".encode()
        ).hexdigest()

    def to(self, device: torch.device | str) -> "ImagesOnDisk":
        """The same, batches of which are put there."""
        return self._with(self._rows, torch.device(device))

    def take(self, index: Tensor) -> "ImagesOnDisk":
        """Those at ``index`` (int64 ``[k]``), none of them read yet."""
        return self._with(self._rows[index.cpu()], self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """One batch after another."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        # Never IndexError: a loop over this would end there without a word.
        if not isinstance(index, Tensor | slice):
            raise TypeError(
                f"images on disk are indexed by int64 [k] or a slice, not by a {type(index).__name__}"
            )
        rows = self._rows[index.cpu() if isinstance(index, Tensor) else index]
        if rows.ndim != 1:
            raise TypeError(
                f"images on disk are indexed by int64 [k] or a slice, not by what gives {tuple(rows.shape)}"
            )
        out = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        if self._kept is None:
            _fill(out, rows.tolist(), self._decoded)
        else:
            _Kept.of(self._kept, len(self._encoded), out[:1].nbytes or 1).fill(
                out, rows.numpy(), self._decoded
            )
        return torch.from_numpy(out).to(self.device)

    def _decoded(self, index: int) -> np.ndarray:
        raw, where = self._encoded.read(index)
        image = self._decode(raw, where)
        if image.shape != self.shape[1:]:
            found, expected = (" x ".join(map(str, s)) for s in (image.shape, self.shape[1:]))
            raise DataError(
                f"{where} is {found} (channels, height, width), others are {expected}; expected one size:"
                " give --size"
            )
        return image.numpy()

    def _with(self, rows: Tensor, device: torch.device) -> "ImagesOnDisk":
        c, h, w = self.shape[1:]
        return ImagesOnDisk(self._encoded, self._decode, (c, h, w), self._kept, device, rows, self._how)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(DECODERS)


def _fill(out: np.ndarray, rows: Sequence[int], decoded: Callable[[int], np.ndarray]) -> None:
    def make(i: int) -> None:
        out[i] = decoded(rows[i])

    _each(make, range(len(rows)))


def _each(make: Callable[[int], None], todo: Sequence[int]) -> None:
    """``make`` for each, in threads, which take a share each: to hand out single images
    costs a sixth of the time."""

    def share(first: int) -> None:
        for i in todo[first::DECODERS]:
            make(i)

    list(_pool().map(share, range(DECODERS)))


Images = Tensor | ImagesOnDisk
"""uint8 ``[n, c, h, w]``, in memory or not."""


def in_memory(images: Images) -> Tensor:
    """All of them.

    Raises:
        DataError: they are more than this machine's memory.
    """
    if isinstance(images, Tensor):
        return images
    refuse_too_much(images.numel(), f"{len(images):,} images of {short(images.shape[1:])}, all at once,")
    return images[:]


def ahead(images: Images, batches: Sequence[Tensor]) -> Iterator[Tensor]:
    """``images[batch]`` for each batch of numbers; of images on disk, the next ones are
    read while one is used."""
    if isinstance(images, Tensor):
        yield from (images[batch] for batch in batches)
        return
    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(images.__getitem__, batch) for batch in batches[:AHEAD]]
        for i in range(len(batches)):
            found = waiting.pop(0).result()
            if i + AHEAD < len(batches):
                waiting.append(reader.submit(images.__getitem__, batches[i + AHEAD]))
            yield found


class _Kept:
    """The file of decoded images, and a checksum of each beside it: 0 of those that are not
    there yet. One a process."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = size
        self._images = os.open(path, os.O_RDWR | os.O_CREAT)
        sums = path.with_name(path.name + ".sums")
        with open(sums, "ab") as file:
            if file.tell() < 4 * count:
                file.truncate(4 * count)
        self._sums = np.memmap(sums, dtype=np.uint32, mode="r+", shape=(count,))

    @staticmethod
    @functools.cache
    def of(path: Path, count: int, size: int) -> "_Kept":
        return _Kept(path, count, size)

    def fill(self, out: np.ndarray, rows: np.ndarray, decoded: Callable[[int], np.ndarray]) -> None:
        """Put the images at ``rows`` into ``out``."""
        missing = [i for i, row in enumerate(rows) if not self._read(int(row), out[i])]

        def make(i: int) -> None:
            out[i] = decoded(int(rows[i]))
            self._write(int(rows[i]), out[i])

        _each(make, missing)

    def _read(self, row: int, into: np.ndarray) -> bool:
        expected = int(self._sums[row])
        if not expected:
            return False
        read = os.preadv(self._images, [_bytes(into)], row * self._size)
        return read == self._size and _sum(into) == expected  # torn by a crash, it is decoded again

    def _write(self, row: int, image: np.ndarray) -> None:
        os.pwrite(self._images, _bytes(image), row * self._size)
        self._sums[row] = _sum(image)


def _sum(image: np.ndarray) -> int:
    """Never 0."""
    return zlib.crc32(_bytes(image)) or 1


def _bytes(image: np.ndarray) -> memoryview:
    return memoryview(image.data).cast("B")
