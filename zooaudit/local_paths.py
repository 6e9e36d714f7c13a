"""Paths of this machine in what is sent to others: only their last part is told."""

import re
import shlex

ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Begins an address (``s3://``, ``https://``, ``models:/``): the same for everybody. One
letter and a colon is a drive."""
LOCAL = re.compile(r"(~\w*|\.{1,2})?[/\\]|[A-Za-z]:[/\\]")
"""Begins a path and nothing else."""
PART = re.compile(r"[^\s'\"=,;()]+")
"""Of a word: a command in it, or ``NAME=FILE``, has several."""


def last_part(name: str) -> str:
    """A suspect's name; of a local path only its last part. ``a/b`` may be anything, and is left."""
    return _last(name) if LOCAL.match(name) else name


def without_folders(place: str) -> str:
    """Where something is, as an address or as the last part of a path."""
    return place if ELSEWHERE.match(place) else _last(place)


def shared_text(text: str) -> str:
    """Words with only the last part of what can be nothing but a path."""
    return PART.sub(lambda found: last_part(found[0]), text)


def shared_command(command: str) -> str:
    """A command line with only the last part of each path in it."""
    return shlex.join(_short(word) for word in shlex.split(command))


def _short(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if LOCAL.match(value):  # whole, as its folders may have spaces
        return option + equals + _last(value)
    return option + equals + PART.sub(lambda found: without_folders(found[0]), value)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path
