"""Who asked what: one JSON line a request, to the log and, where there is a folder for data, to files of each
process, of which the oldest go: strangers must not fill the disk, nor push out what was there."""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zooaudit.suspects.addresses import without_keys

log = logging.getLogger("zooaudit.access")
QUIET = ("/health", "/ready")
"""Asked every few seconds by whoever watches over the service."""
FILE_BYTES, ALL_BYTES = 16 * 2**20, 256 * 2**20
"""Of one file, after which another is begun, and of all in the folder, beyond which the oldest go."""
REFUSALS_A_MINUTE = 600
"""Lines about requests that were refused without a key; what is left out is counted in the next line."""


class Lines:
    """Of one process.

    Args:
        folder: made if it is not there.
        file_bytes, all_bytes: as ``FILE_BYTES`` and ``ALL_BYTES``.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES, all_bytes: int = ALL_BYTES) -> None:
        self._folder, self._file_bytes, self._all_bytes = folder, file_bytes, all_bytes
        self._path = folder / f"access-{os.getpid()}.jsonl"
        self._quiet_until = 0.0

    def write(self, line: str) -> None:
        """A line; nothing if there is no room, which is said in the log, but not each time."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a") as file:
                file.write(line + "\n")
                size = file.tell()
            if size >= self._file_bytes:
                self._path.rename(self._path.with_name(f"access-{os.getpid()}-{time.time_ns()}.jsonl"))
                self._remove_oldest()
        except OSError as error:
            if time.monotonic() > self._quiet_until:
                log.error("who asked what cannot be written to %s: %s", self._path, error.strerror)
                self._quiet_until = time.monotonic() + 60

    def _remove_oldest(self) -> None:
        files = sorted(
            ((f.stat().st_mtime_ns, f.stat().st_size, f) for f in self._folder.glob("access-*.jsonl")),
            reverse=True,
        )
        kept = 0
        for _, size, file in files:
            kept += size
            if kept > self._all_bytes and file != self._path:
                file.unlink(missing_ok=True)


class AccessLog:
    """ASGI middleware. Neither keys nor bodies are written.

    Args:
        folder: of the files ``access-<process>.jsonl``, and
            ``access-<process>-<time>.jsonl`` of before; None for none.
        clock: in seconds.
    """

    def __init__(
        self, app: ASGIApp, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._lines, self._clock = app, Lines(folder) if folder else None, clock
        self._minute, self._refused, self._left_out = clock(), 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._write(scope, status, time.perf_counter() - started)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        key = scope.get("state", {}).get("key", "")
        if status in (401, 403, 404, 405) and not key and self._too_many():
            self._left_out += 1
            return
        client = scope.get("client")
        data: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "key": key,
            "from": client[0] if client else "",
            "method": scope["method"],
            "path": without_keys(scope["path"])[:300],
            "query": _query(scope.get("query_string", b"")),
            "status": status,
            "seconds": round(seconds, 4),
        }
        if self._left_out:
            data["refusals_left_out"], self._left_out = self._left_out, 0
        line = json.dumps(data)
        log.info("%s", line)
        if self._lines:
            self._lines.write(line)

    def _too_many(self) -> bool:
        """Whether as many lines about refusals were written within a minute as may be."""
        now = self._clock()
        if now - self._minute >= 60:
            self._minute, self._refused = now, 0
        self._refused += 1
        return self._refused > REFUSALS_A_MINUTE


def _query(given: bytes) -> str:
    """What was asked, without the keys that the name of a suspect may have."""
    text = given.decode(errors="replace")
    plain = unquote_plus(text)
    hidden = without_keys(plain)
    return (text if hidden == plain else hidden)[:500]
