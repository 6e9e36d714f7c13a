"""Packages of the extras, for example ``zooaudit[onnx]``. They are imported where they are first needed; one
error names the missing extra."""

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
"""By name: what the extra is for."""


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'zooaudit[{extra}]'"


@contextlib.contextmanager
def needs(extra: str, what: str, kind: type[InputError] = InputError, instead: str = "") -> Iterator[None]:
    """Wrap the imports of an extra's packages.

    Args:
        what: what the packages are for; the message begins with it.
        kind: the type of error to raise.
        instead: how to do without the extra.

    Raises:
        InputError: of type ``kind``; a package is missing.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "zooaudit":
            raise  # the missing module is not a third-party package: the fault is ours
        raise kind(
            f"{what} needs the extra {extra} ({first_line(error)}): {install(extra)}{instead}"
        ) from error


def require(extra: str, what: str, *packages: str) -> None:
    """Fail early if the end of the work needs an extra that is missing; imports nothing.

    Raises:
        InputError: a package is missing.
    """
    with needs(extra, what):
        for name in packages:
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
