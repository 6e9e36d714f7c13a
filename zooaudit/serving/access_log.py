"""The access log: one JSON line for each request, to the log and, if there is a data folder, to files of each
process. The oldest files are removed: strangers must neither fill the disk nor push out older lines."""

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
"""Paths that monitoring asks every few seconds."""
FILE_BYTES, ALL_BYTES = 16 * 2**20, 256 * 2**20
"""Size at which a new file begins, and of all files, above which the oldest are removed."""
REFUSALS_A_MINUTE = 600
"""Lines a minute about requests without a valid key; the next line counts those left out."""


class Lines:
    """The lines of one process.

    Args:
        folder: created if missing.
        file_bytes, all_bytes: as ``FILE_BYTES`` and ``ALL_BYTES``.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES, all_bytes: int = ALL_BYTES) -> None:
        self._folder, self._file_bytes, self._all_bytes = folder, file_bytes, all_bytes
        self._path = folder / f"access-{os.getpid()}.jsonl"
        self._quiet_until = 0.0

    def write(self, line: str) -> None:
        """Write a line; if the disk is full, drop it, and report that in the log once in a while."""
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
        folder: holds the files ``access-<process>.jsonl``, and the older ``access-<process>-<time>.jsonl``;
            None for none.
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
        """Whether the limit of lines a minute about refusals is reached."""
        now = self._clock()
        if now - self._minute >= 60:
            self._minute, self._refused = now, 0
        self._refused += 1
        return self._refused > REFUSALS_A_MINUTE


def _query(given: bytes) -> str:
    """The query string without keys, which the name of a suspect may contain."""
    text = given.decode(errors="replace")
    plain = unquote_plus(text)
    hidden = without_keys(plain)
    return (text if hidden == plain else hidden)[:500]
