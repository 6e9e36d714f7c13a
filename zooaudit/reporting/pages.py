"""How pages come about: the templates' environment, and files that are whole or not there."""

import os
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from zooaudit.reporting.wording import FILTERS
from zooaudit.verdict.wording import headline


def environment() -> Environment:
    """For this package's templates; what is put into them is escaped."""
    made = Environment(
        loader=PackageLoader("zooaudit", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS | {"headline": headline}
    return made


def put(path: Path, content: bytes) -> None:
    """Write under a scratch name in the same folder, then rename: a reader sees the old
    file or the whole new one.

    Raises:
        OSError: it cannot be written.
    """
    scratch = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
