"""Remove this machine's paths from what is sent to others: only their last part stays."""

import re
import shlex

ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The start of an address (``s3://``, ``https://``, ``models:/``), which is the same for everybody. A single
letter and a colon is a drive."""
LOCAL = re.compile(r"(~\w*|\.{1,2})?[/\\]|[A-Za-z]:[/\\]")
"""The start of a path, and of nothing else."""
PART = re.compile(r"[^\s'\"=,;()]+")
"""Separates the parts of a word: a command in it, or ``NAME=FILE``, has several."""


def last_part(name: str) -> str:
    """A suspect's name; for a local path, its last part. ``a/b`` may be anything and stays."""
    return _last(name) if LOCAL.match(name) else name


def without_folders(place: str) -> str:
    """An address, or the last part of a path."""
    return place if ELSEWHERE.match(place) else _last(place)


def shared_text(text: str) -> str:
    """A text in which every absolute path is cut to its last part."""
    return PART.sub(lambda found: last_part(found[0]), text)


def shared_command(command: str) -> str:
    """A command line in which every path is cut to its last part."""
    return shlex.join(_short(word) for word in shlex.split(command))


def _short(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if LOCAL.match(value):  # whole, as its folders may have spaces
        return option + equals + _last(value)
    return option + equals + PART.sub(lambda found: without_folders(found[0]), value)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path
