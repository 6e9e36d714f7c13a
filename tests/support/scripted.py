"""A real HTTP server that answers as a test says, byte for byte: what no framework can be made to send."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = tuple[int, Mapping[str, str], bytes]
Script = Callable[[Asked], Reply]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = type(self).script(Asked(self.command, self.path, self.headers, body))
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Scripted", (Handler,), {"script": staticmethod(script)})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def spoken(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """Address of a server that does with each connection as a test says, with nothing between."""

    class Bare(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # whoever asked may have left
                speak(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address = True, True
        block_on_close = False

    with Server(("127.0.0.1", 0), Bare) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def looked_up_for_ever(*_: object, flags: int = 0, **__: object) -> list[object]:
    """A ``getaddrinfo`` whose name server does not answer for as long as a test may wait."""
    if flags:  # whether it is an address
        raise socket.gaierror("no address")
    time.sleep(20)
    return []
