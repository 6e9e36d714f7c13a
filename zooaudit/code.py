"""Digests of this version's source code: what depends on how something is computed is kept under them."""

import hashlib
from functools import cache
from importlib import resources


@cache
def code_digest(*rooms: str) -> str:
    """16 hex digits that change with any line of the named rooms, for example ``studies`` and ``verdict``: folders of this package."""
    sha = hashlib.sha256()
    for room in rooms:
        for path in sorted(resources.files("zooaudit").joinpath(room).iterdir(), key=lambda p: p.name):
            if path.name.endswith(".py"):
                sha.update(f"{room}/{path.name}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:16]
