"""A small S3 server with the faults that a sound one cannot be made to show. Signatures are not looked at;
one bucket, in memory."""

import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

Fault = Callable[["Asked"], tuple[int, str, str] | None]
"""Status, code and message instead of an answer."""


@dataclass
class Asked:
    method: str
    key: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Bucket:
    """What the server holds, was asked, and does wrong."""

    faults: list[Fault] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    encrypts: bool = True
    """Whether it heeds what a write says of encryption."""
    raw: bool = False
    """Whether it takes a body with trailers as it comes for content."""
    answers: dict[str, str] = field(default_factory=dict)
    """Headers of every GET."""
    url: str = ""


def plain(asked: Asked) -> bytes:
    """Content out of chunks, as a server does that knows of trailers."""
    if "aws-chunked" not in asked.headers.get("content-encoding", ""):
        return asked.body
    rest, parts = asked.body, []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size.partition(b";")[0], 16)
        if not count:
            break
        parts.append(rest[:count])
        rest = rest[count + 2 :]
    return b"".join(parts)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def _asked(self) -> Asked:
        headers = {k.lower(): v for k, v in self.headers.items()}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while count := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(count)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(headers.get("content-length", 0)))
        path = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        return Asked(self.command, path, headers, body)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, message: str) -> None:
        self._answer(
            status,
            f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode(),
            Content_Type="application/xml",
        )

    def _any(self) -> None:
        asked, bucket = self._asked(), self.bucket
        bucket.asked.append(asked)
        for fault in bucket.faults:
            if found := fault(asked):
                return self._error(*found)
        if asked.method == "PUT":
            return self._put(asked)
        if asked.method == "DELETE":
            bucket.content.pop(asked.key, None)
            return self._answer(204)
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            return self._list(query.get("prefix", [""])[0])
        if asked.key not in bucket.content:
            return self._error(404, "NoSuchKey", "none")
        body, now = bucket.content[asked.key], formatdate(usegmt=True)
        way = bucket.encrypts and next(
            (a.headers.get("x-amz-server-side-encryption") for a in bucket.asked if a.key == asked.key), None
        )
        more = {"x_amz_server_side_encryption": way} if way else {}
        return self._answer(
            200, body, Last_Modified=now, ETag=f'"{hashlib.md5(body).hexdigest()}"', **more, **bucket.answers
        )

    def _put(self, asked: Asked) -> None:
        source = asked.headers.get("x-amz-copy-source")
        if source:
            self.bucket.content[asked.key] = self.bucket.content[
                unquote(source).lstrip("/").partition("/")[2]
            ]
            return self._answer(
                200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", Content_Type="application/xml"
            )
        if asked.headers.get("if-none-match") == "*" and asked.key in self.bucket.content:
            return self._error(412, "PreconditionFailed", "there")
        self.bucket.content[asked.key] = asked.body if self.bucket.raw else plain(asked)
        return self._answer(200)

    def _list(self, prefix: str) -> None:
        keys = [k for k in sorted(self.bucket.content) if k.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{k}</Key><Size>{len(self.bucket.content[k])}</Size></Contents>" for k in keys
        )
        self._answer(
            200,
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode(),
            Content_Type="application/xml",
        )

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _any

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(bucket: Bucket, tls: Path | None = None) -> Iterator[Bucket]:
    """The server, on this machine; over TLS with the key and certificate of the file ``tls``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"bucket": bucket}))
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    bucket.url = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


FOUND = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_ENDPOINT_URL",
    "ZOOAUDIT_S3_SSE",
    "ZOOAUDIT_S3_SSE_KMS_KEY_ID",
)


@pytest.fixture
def fake_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """With an environment that reaches it, and credentials in a file."""
    for name in FOUND:
        monkeypatch.delenv(name, raising=False)
    with serving(Bucket()) as made:
        reach(made, tmp_path, monkeypatch)
        yield made


def reach(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(tmp_path, "first")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_S3": bucket.url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ZOOAUDIT_S3_DEADLINE_S": "2",
        "ZOOAUDIT_STORE_CACHE_GIB": "0",
        "ZOOAUDIT_S3_ADDRESSING": "path",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def credentials(folder: Path, key: str) -> None:
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t-{key}\n"
    )
