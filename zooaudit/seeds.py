"""One seed in, a tree of independent seeds out."""

import hashlib


def derive(seed: int, *names: object) -> int:
    """Derive a child seed from ``seed`` and a path of names.

    The child depends on every name and on nothing else, so adding a model to a plan never changes
    the numbers of another.

    Returns:
        An integer in [0, 2**63).
    """
    path = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1
