"""Data that is too large for memory: a sample is checked, and the images are left on disk."""

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import ImageFile
from torch import Tensor

from zooaudit.data import array_pixels
from zooaudit.data.arrays import Arrays
from zooaudit.data.decode import decode_image, refuse_too_much, strictly
from zooaudit.data.encoded import Encoded, Files
from zooaudit.data.folders import Undecoded
from zooaudit.data.messages import short
from zooaudit.data.on_disk import Decode, ImagesOnDisk
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.reading_notes import Met
from zooaudit.data.zips import Zipped
from zooaudit.errors import DataError

IN_MEMORY = 2 * 2**30
"""The most bytes of decoded images in memory. A constant rather than a share of this machine's memory, since
data on disk has another digest."""
SAMPLE = 100
"""How many images of each split are checked."""
KEPT = "decoded"
"""The folder of decoded images in the cache."""
Part = Undecoded | Arrays
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Source:
    """Where data is read from.

    Attributes:
        place: as the user gave it.
        folder: the same, or a zip's unpacked content while it is read.
        cache: where data derived from it is stored.
    """

    place: Path
    folder: Path
    cache: Path

    @property
    def lasts(self) -> bool:
        return self.place == self.folder


@dataclass(frozen=True)
class _Left:
    """One part that stays on disk.

    Attributes:
        decode: makes an image from its encoded form, given the number of channels of all images.
        how: what else determines the pixels.
        keep: whether decoded images are stored too; otherwise decoding is fast enough to repeat.
    """

    encoded: Encoded
    decode: Callable[[int], Decode]
    shape: Shape
    how: str
    keep: bool


def left_on_disk(
    both: Sequence[Part], reading: Reading, met: Met, source: Source
) -> list[ImagesOnDisk] | None:
    """Train and test as images that are read on demand; None if they fit in memory, or can be read only
    there.

    Raises:
        DataError: the sample has several sizes, numbers are ambiguous, or the disk cannot hold what is made
            from the data.
    """
    counts = [part.count if isinstance(part, Undecoded) else len(part.images) for part in both]
    if not all(counts):
        return None
    shape = _first_shape(both[0], reading)
    total = sum(counts) * torch.Size(shape).numel()
    if total <= IN_MEMORY:
        return None
    if ways_out := [way for part in both if (way := _way_out(part, source))]:
        refuse_too_much(total, f"{source.place}: {sum(counts):,} images of {short(shape)} ({ways_out[0]})")
        return None
    files = iter(_files([part for part in both if isinstance(part, Undecoded)], reading, met, source))
    arrays = iter(_arrays([part for part in both if isinstance(part, Arrays)], reading, met, source.cache))
    return _made(
        [next(files) if isinstance(part, Undecoded) else next(arrays) for part in both], met, source.cache
    )


def _way_out(part: Part, source: Source) -> str:
    """How the part's images could stay on disk; "" if they can already: files in a zip are gone after
    reading."""
    if isinstance(part, Arrays) and part.images.rows is None:
        return "they could stay on disk as .npy in C order: numpy.save of numpy.ascontiguousarray"
    inside = not source.lasts and not (
        isinstance(part, Undecoded)
        and isinstance(part.encoded, Files)
        and all(Path(os.path.abspath(path)).is_relative_to(source.folder) for path in part.encoded.paths)
    )
    return "they could stay on disk if the zip were unpacked, and its folder given" if inside else ""


def _first_shape(part: Part, reading: Reading) -> Shape:
    if isinstance(part, Arrays):
        return array_pixels.row_shape(part.images.shape, part.where, reading)
    with strictly():
        channels, height, width = decode_image(*next(iter(part.items())), reading).shape
    return channels, height, width


def _files(parts: Sequence[Undecoded], reading: Reading, met: Met, source: Source) -> list[_Left]:
    """Parts whose images have to be decoded."""
    if not parts:
        return []
    encoded = [_by_number(part, source) for part in parts]
    shape = _shape(encoded, reading, met, parts[0].where)
    return [
        _Left(
            each,
            lambda c: functools.partial(_as_all, reading=reading, channels=c),
            shape,
            repr(_of_pixels(reading)),
            True,
        )
        for each in encoded
    ]


def _by_number(part: Undecoded, source: Source) -> Encoded:
    if source.lasts:
        return part.encoded(source.cache) if callable(part.encoded) else part.encoded
    assert isinstance(part.encoded, Files)
    return Zipped(source.place, [os.path.relpath(path, source.folder) for path in part.encoded.paths])


def _arrays(parts: Sequence[Arrays], reading: Reading, met: Met, cache: Path) -> list[_Left]:
    """Parts that are arrays; every number is checked."""
    if not parts:
        return []
    numbers = [array_pixels.numbers(part, cache, whole=-1) for part in parts]
    scale = array_pixels.settled(numbers, reading, met)
    left = []
    for part in numbers:
        assert part.rows is not None
        array_pixels.look(part, scale, reading, met)
        shape = array_pixels.row_shape(part.shape, part.where, reading)
        decode = functools.partial(
            array_pixels.one_image, kind=part.kind, shape=part.shape[1:], scale=scale, reading=reading
        )
        plain = (
            scale is None and reading.sizing is None and reading.colour == "auto" and 4 not in part.shape[1:]
        )
        how = f"{_of_pixels(reading)} {reading.layout} {part.kind} {part.shape[1:]} {scale}"
        with_channels = functools.partial(_with_channels, decode)
        left.append(_Left(part.rows, with_channels, shape, how, not plain))
    return left


def _with_channels(decode: Callable[..., Tensor], channels: int) -> Decode:
    return functools.partial(decode, channels=channels)


def _made(left: Sequence[_Left], met: Met, cache: Path) -> list[ImagesOnDisk]:
    """All parts with the largest number of channels of any."""
    depths = {part.shape[0] for part in left}
    if depths == {1, 3}:
        met.note(
            "images of one split are all grey, of the other coloured: grey ones became coloured; --colour"
            " grey makes all grey"
        )
        left = [replace(part, shape=(3, *part.shape[1:])) for part in left]
    count = sum(len(part.encoded) for part in left)
    kept = [cache / KEPT / _name(part) if part.keep else None for part in left]
    needed = sum(len(part.encoded) * torch.Size(part.shape).numel() for part in left if part.keep)
    if needed:
        _check_space(cache, needed - sum(p.stat().st_blocks * 512 for p in kept if p and p.exists()), count)
    how = (
        f"each is decoded when first asked for and kept in {cache / KEPT} ({needed / 1e9:.1f} GB)"
        if needed
        else "each is read when asked for"
    )
    met.note(f"{count:,} images of {short(left[0].shape)} are too many for memory: {how}")
    return [
        ImagesOnDisk(part.encoded, part.decode(part.shape[0]), part.shape, path, how=part.how)
        for part, path in zip(left, kept, strict=True)
    ]


def _shape(splits: Sequence[Encoded], reading: Reading, met: Met, where: str) -> tuple[int, int, int]:
    """The shape that all images seem to have: sizes must agree, and all are coloured if one is."""
    shapes = set()
    for files in splits:
        for i in torch.linspace(0, len(files) - 1, min(SAMPLE, len(files))).long().tolist():
            shapes.add(tuple(_decoded(files, i, reading, met).shape))
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) > 1:
        raise DataError(
            f"{where}: images have sizes {short(sorted(sizes))}; expected one size: --size HEIGHTxWIDTH"
            " brings them to one (as the victim's own loader does: see --fit, --shorter-side and --filter)"
        )
    height, width = sizes.pop()
    return max(shape[0] for shape in shapes), height, width


def _decoded(files: Encoded, index: int, reading: Reading, met: Met) -> Tensor:
    with strictly():
        return decode_image(*files.read(index), reading, met)


def _as_all(raw: bytes, where: str, reading: Reading, channels: int) -> Tensor:
    """One image with the number of channels of all."""
    ImageFile.LOAD_TRUNCATED_IMAGES = (
        False  # whatever a user's code has set; threads share it, so it cannot be restored
    )
    image = decode_image(raw, where, reading)
    if len(image) > channels:
        raise DataError(
            f"{where} is coloured, and the images that were looked at first are grey; expected all of one"
            " kind: --colour rgb, or grey"
        )
    return image.expand(channels, -1, -1) if len(image) < channels else image


def _of_pixels(reading: Reading) -> Reading:
    """The settings that determine pixels."""
    return replace(
        PLAIN,
        sizing=reading.sizing,
        background=reading.background,
        colour=reading.colour,
        value_range=reading.value_range,
        ignore_exif=reading.ignore_exif,
    )


def _name(part: _Left) -> str:
    """A name that changes with files, times, and how they are read."""
    sha = hashlib.sha256(f"{part.how} {part.shape}{part.encoded.key}".encode())
    for path in part.encoded.paths:
        found = os.stat(path)
        sha.update(f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:24]


def _check_space(cache: Path, needed: int, count: int) -> None:
    place = next(p for p in (cache, *cache.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"{count:,} decoded images take {needed / 1e9:.1f} GB more in {cache}, which has {free / 1e9:.1f}"
            " GB left; expected that much: set ZOOAUDIT_CACHE to a folder on a larger disk, or give a"
            " smaller --size"
        )
