"""Images that do not fit in memory: decoded on demand, and stored decoded in a file.

Training asks for batches in its own order; nothing waits until everything is decoded. From the second time
on, an image is read from the file, which takes a fraction of the time. Several processes may share the file:
all of them write the same content.
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
"""How many batches are read ahead while one is used."""
DECODERS = min(4, max(2, os.cpu_count() or 1))
"""How many threads decode at a time in a process. More threads than cores wait for one another: only Pillow's
decoders release the GIL."""
Decode = Callable[[bytes, str], Tensor]


class ImagesOnDisk:
    """Behaves like a uint8 tensor ``[n, c, h, w]`` that can be indexed by tensors of numbers and by slices,
    but not changed.

    Args:
        encoded: the images.
        decode: decodes one to uint8 ``[c, h, w]``; picklable.
        shape: (c, h, w), which all must have.
        kept: path of the file of decoded images, with a second file next to it; None to decode each time.
        device: for batches.
        rows: which of the images these are, in order; all by default.
        how: what determines the pixels besides the files, for the digest.
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
        """Changes with the content of the encoded images, their order, and how they are decoded."""
        rows = hashlib.sha256(self._rows.numpy().tobytes()).hexdigest()
        return hashlib.sha256(
            f"{content_digest(self._encoded)} {tuple(self.shape)} {rows} {self._how}".encode()
        ).hexdigest()

    def to(self, device: torch.device | str) -> "ImagesOnDisk":
        """The same images, with batches on another device."""
        return self._with(self._rows, torch.device(device))

    def take(self, index: Tensor) -> "ImagesOnDisk":
        """The images at ``index`` (int64 ``[k]``), without reading them."""
        return self._with(self._rows[index.cpu()], self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """One batch after another."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        # Never IndexError: a loop over this would end there silently.
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
    """Call ``make`` for each number, in threads that take a share each: handing out single images costs a
    sixth of the time."""

    def share(first: int) -> None:
        for i in todo[first::DECODERS]:
            make(i)

    list(_pool().map(share, range(DECODERS)))


Images = Tensor | ImagesOnDisk
"""uint8 ``[n, c, h, w]``, in memory or not."""


def in_memory(images: Images) -> Tensor:
    """Read all images into memory.

    Raises:
        DataError: they do not fit.
    """
    if isinstance(images, Tensor):
        return images
    refuse_too_much(images.numel(), f"{len(images):,} images of {short(images.shape[1:])}, all at once,")
    return images[:]


def ahead(images: Images, batches: Sequence[Tensor]) -> Iterator[Tensor]:
    """``images[batch]`` for each batch of numbers; for images on disk, the next batches are read while one is
    used."""
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
    """The file of decoded images, and a checksum of each in a second file, 0 for those that are missing. One
    in each process."""

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
        return read == self._size and _sum(into) == expected  # if torn by a crash, it is decoded again

    def _write(self, row: int, image: np.ndarray) -> None:
        os.pwrite(self._images, _bytes(image), row * self._size)
        self._sums[row] = _sum(image)


def _sum(image: np.ndarray) -> int:
    """A checksum that is never 0."""
    return zlib.crc32(_bytes(image)) or 1


def _bytes(image: np.ndarray) -> memoryview:
    return memoryview(image.data).cast("B")
