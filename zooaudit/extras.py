"""Packages that come with an extra, ``zooaudit[onnx]`` say. They are imported where they are first needed;
one error names the extra."""

import contextlib
import importlib.util
from collections.abc import Iterator

from zooaudit.errors import InputError, first_line

EXTRAS = {
    "ray": "training in parallel, sweeps",
    "s3": "stores, data and models in S3; requests signed for AWS",
    "serve": "the HTTP service",
    "onnx": "suspects that are ONNX graphs",
    "hub": "models of the Hugging Face hub, of transformers and timm",
    "grpc": "suspects over gRPC",
    "report": "figures in reports, studies and sweeps",
}
"""By name: what is not possible without it."""


def install(extra: str) -> str:
    """The command that brings an extra."""
    return f"pip install 'zooaudit[{extra}]'"


@contextlib.contextmanager
def needs(extra: str, what: str, kind: type[InputError] = InputError, instead: str = "") -> Iterator[None]:
    """Around the imports of an extra's packages.

    Args:
        what: is to be done with them; the message begins with it.
        kind: of error.
        instead: how to do without.

    Raises:
        InputError: of that kind; one of the packages is missing.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "zooaudit":
            raise  # that is no package of somebody else's: it is a fault of ours
        raise kind(
            f"{what} needs the extra {extra} ({first_line(error)}): {install(extra)}{instead}"
        ) from error


def require(extra: str, what: str, *packages: str) -> None:
    """Before work begins that would need an extra at its end; imports nothing.

    Raises:
        InputError: one of the packages is missing.
    """
    with needs(extra, what):
        for name in packages:
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
