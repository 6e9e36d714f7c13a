"""Manifests that a stranger wrote."""

import hashlib
from typing import Any

from zooaudit.config import canonical_json

CONTENT = b"theirs"
SHA = hashlib.sha256(CONTENT).hexdigest()


def manifest(kind: str = "report", id_: str = "r", **changes: Any) -> bytes:
    """With a right digest of itself, as anybody can write one."""
    body = {"format": 1, "kind": kind, "id": id_, "code": "0", "files": {}, "meta": {}} | changes
    return canonical_json(
        body | {"sha256": hashlib.sha256(canonical_json(body).encode()).hexdigest()}
    ).encode()
