"""Unpack compressed bodies from servers that ignore our request for identity: in pieces, up to a limit.
Pure."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from zooaudit.errors import AnswersError

CODINGS = ("gzip", "x-gzip", "deflate", "br")
PIECE = 2**16


class Unpacker(Protocol):
    """Unpacks a part; returns it in pieces of limited size."""

    def __call__(self, part: bytes) -> Iterator[bytes]: ...


def unpacked(coding: str, parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The decoded pieces of a body.

    Args:
        coding: its Content-Encoding.
        most: the largest number of decoded bytes.

    Raises:
        AnswersError: another coding, a body that does not have it, or a body over the limit.
    """
    coding, size = coding.strip().lower(), 0
    pieces = parts if coding in ("", "identity") else _pieces(coding, parts)
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise AnswersError.of(f"more than {most:,} bytes", "probabilities")
        yield piece


def _pieces(coding: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    if coding not in CODINGS:
        known = f"none, or one of {', '.join(CODINGS)}"
        raise AnswersError.of(f"the Content-Encoding {coding[:40]}", f"{known}: identity was asked for")
    unpack = _brotli() if coding == "br" else _zlib(coding)
    for part in parts:
        yield from unpack(part)
    yield from unpack(b"")


def _zlib(coding: str) -> Unpacker:
    of: Any = None

    def unpack(part: bytes) -> Iterator[bytes]:
        nonlocal of
        if of is None and part:
            wrapped = part[0] & 0x0F == 8 and (len(part) < 2 or int.from_bytes(part[:2], "big") % 31 == 0)
            # Some send deflate without zlib's header.
            of = zlib.decompressobj(31 if coding.endswith("gzip") else 15 if wrapped else -15)
        try:
            while part:
                yield of.decompress(part, PIECE)
                part = of.unconsumed_tail
        except zlib.error as error:
            raise AnswersError.of(
                f"a body that is not {coding} ({error})", f"{coding}, as its Content-Encoding says"
            ) from error

    return unpack


def _brotli() -> Unpacker:
    try:
        import brotli
    except ImportError as error:
        raise AnswersError.of(
            "the Content-Encoding br", "identity, as asked for; or pip install brotli, which reads it"
        ) from error
    of = brotli.Decompressor()

    def unpack(part: bytes) -> Iterator[bytes]:
        try:
            piece = of.process(part, output_buffer_limit=PIECE) if part else b""
            while piece:
                yield piece
                piece = b"" if of.can_accept_more_data() else of.process(b"", output_buffer_limit=PIECE)
        except (brotli.error, TypeError) as error:
            raise AnswersError.of(
                f"a body that is not brotli ({error})",
                "br, as its Content-Encoding says; or brotli 1.2 or later",
            ) from error

    return unpack
