"""zooaudit: was this suspect model stolen from mine?

    import zooaudit as za

    audit = za.audit("digits", store="store")
    kit = za.load_kit("store", audit.kit)
    print(kit.score("theirs.onnx").decision)

See :mod:`zooaudit.api`. Nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "Audit",
    "Client",
    "HttpSuspect",
    "Kit",
    "Recipe",
    "Score",
    "Verification",
    "audit",
    "load_kit",
    "score_many",
    "verify",
]

if TYPE_CHECKING:
    from zooaudit.api import (
        Audit,
        HttpSuspect,
        Kit,
        Recipe,
        Score,
        Verification,
        audit,
        load_kit,
        score_many,
        verify,
    )
    from zooaudit.client import Client


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'zooaudit' has no attribute {name!r}; the public ones are {', '.join(__all__)}"
        )
    import importlib

    return getattr(importlib.import_module("zooaudit.client" if name == "Client" else "zooaudit.api"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
