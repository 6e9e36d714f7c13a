"""Errors that name the file, and lists of readable length."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from zooaudit.errors import DataError, first_line

T = TypeVar("T")


def guard(path: Path, kind: str, read: Callable[[Path], T]) -> T:
    """The result of ``read``, or a DataError that names the file."""
    try:
        return read(path)
    except DataError:
        raise
    except Exception as error:  # readers of damaged files raise many exceptions
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise DataError(f"{path}: not a readable {kind} file ({reason}); fetch or write it again") from error


def short(items: Iterable[object], limit: int = 6) -> str:
    """The first few of many things, for an error."""
    listed = list(items)
    return ", ".join(map(str, listed[:limit])) + (
        f", ... ({len(listed)} in all)" if len(listed) > limit else ""
    )


def same(one: Iterable[str], other: Iterable[str], names: tuple[str, str]) -> str:
    """How two sets of names differ, for an error: ``only A has x; only B has y``; "" if they are equal."""
    first, second = set(one), set(other)
    rows = [
        f"only {name} has {short(sorted(extra))}"
        for name, extra in zip(names, (first - second, second - first), strict=True)
        if extra
    ]
    return "; ".join(rows)
