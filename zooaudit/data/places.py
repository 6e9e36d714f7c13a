"""The folder for downloaded and decoded data."""

import os
from pathlib import Path


def default_cache() -> Path:
    """``$ZOOAUDIT_CACHE``, else ``$XDG_CACHE_HOME/zooaudit``, else ``~/.cache/zooaudit``."""
    if "ZOOAUDIT_CACHE" in os.environ:
        return Path(os.environ["ZOOAUDIT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zooaudit"
