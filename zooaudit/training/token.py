"""The token of a private Ray cluster, which lets its holder run code as this user."""

import contextlib
import os
import secrets
from pathlib import Path

from zooaudit.errors import ConfigError

TOKEN, TOKEN_PATH, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"


def guard_token() -> None:
    """Create Ray's token file before Ray does, readable by its owner only; Ray would create it with the
    rights that the umask leaves.

    Does nothing if a token is in the environment, or if token authentication is off.

    Raises:
        ConfigError: other users may read the existing file.
    """
    if os.environ.get(TOKEN) or os.environ.get(MODE, "token") != "token":
        return
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
        ):
            file.write(secrets.token_hex(32))
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigError(
            f"Ray's token {path} cannot be made or read ({error.strerror}); set {TOKEN_PATH} to a file"
            " that can"
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"Ray's token {path} has mode {mode:o}, so that other users of this machine may read it and run"
            f" code in the cluster; expected 600: chmod 600 {path}. If anybody may have read it, remove it"
            " instead: the next start makes a new one"
        )
