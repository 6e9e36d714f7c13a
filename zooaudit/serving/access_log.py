"""Who asked what: one JSON line a request, to the log and, where there is a folder for data, to a file of each process."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("zooaudit.access")
QUIET = ("/health", "/ready")
"""Asked every few seconds by whoever watches over the service."""


class AccessLog:
    """ASGI middleware. Neither keys nor bodies are written.

    Args:
        folder: of the file ``access-<process>.jsonl``; None for none.
    """

    def __init__(self, app: ASGIApp, folder: Path | None = None) -> None:
        self._app, self._file = app, None
        if folder:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = (folder / f"access-{os.getpid()}.jsonl").open("a", buffering=1)

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
        client = scope.get("client")
        told: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "key": scope.get("state", {}).get("key", ""),
            "from": client[0] if client else "",
            "method": scope["method"],
            "path": scope["path"][:300],
            "query": scope.get("query_string", b"").decode(errors="replace")[:500],
            "status": status,
            "seconds": round(seconds, 4),
        }
        line = json.dumps(told)
        log.info("%s", line)
        if self._file:
            self._file.write(line + "\n")
