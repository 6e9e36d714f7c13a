"""One deadline is about the whole exchange with a suspect, whatever it does; an audit that
is stopped does not wait for its end."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import torch

from tests.support.asking import CLASSES, questions, truth
from tests.support.scripted import Asked, Reply, looked_up_for_ever, scripted, spoken
from tests.support.strangers import Stranger, serving
from zooaudit.errors import StoppedError, SuspectError
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.deadlines import heeding, within
from zooaudit.suspects.http_transport import client_of
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import remote_of

TIMEOUT_S, SOON_S = 0.8, 6.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def dripping_headers(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(HEAD)
    for number in range(600):
        connection.sendall(b"X-%d: y\r\n" % number)
        time.sleep(0.1)


def early_hints_for_ever(connection: socket.socket) -> None:
    connection.recv(65536)
    for _ in range(600):
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        time.sleep(0.1)


def hints_without_a_pause(connection: socket.socket) -> None:
    connection.recv(65536)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)


def dripping_body(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.1)


def silent(connection: socket.socket) -> None:
    time.sleep(60)


HOLDING: dict[str, Callable[[socket.socket], None]] = {
    f.__name__: f
    for f in (dripping_headers, early_hints_for_ever, hints_without_a_pause, dripping_body, silent)
}


@contextmanager
def asked(
    folder: Path, url: str, halted: Callable[[], bool] = lambda: False, **more: object
) -> Iterator[ApiBlackBox]:
    remote = remote_of({"url": url, "timeout_s": TIMEOUT_S, "retries": 0, "metadata": False, **more}, CLASSES)
    transport, closing = opened(remote)
    with Ledger(folder / "l.sqlite", remote.about, 1000) as ledger:
        yield ApiBlackBox(remote, ledger, transport, cancelled=halted)
    closing.close()


@pytest.mark.parametrize("name", HOLDING)
def test_what_a_suspect_drips_does_not_outlast_the_time_out(name: str, tmp_path: Path) -> None:
    with spoken(HOLDING[name]) as url, asked(tmp_path, url + "/v1/models/m:predict") as box:
        begun = time.monotonic()
        with pytest.raises(SuspectError, match="did not answer"):
            box.ask(questions(2))
        assert TIMEOUT_S - 0.1 < time.monotonic() - begun < SOON_S
        assert box._ledger.lost == 2, "it may have answered, and charged for it"


@pytest.mark.parametrize("name", HOLDING)
def test_an_audit_that_is_stopped_does_not_wait_for_an_answer(name: str, tmp_path: Path) -> None:
    stop = threading.Event()
    with (
        spoken(HOLDING[name]) as url,
        asked(tmp_path, url + "/v1/models/m:predict", stop.is_set, timeout_s=50) as box,
    ):
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(StoppedError, match="was stopped"):
            box.ask(questions(2))
        assert time.monotonic() - begun < SOON_S and box._ledger.lost == 2


def test_what_a_model_tells_of_itself_is_under_the_same_deadline(tmp_path: Path) -> None:
    with spoken(dripping_headers) as url, asked(tmp_path, url + "/v2/models/m/infer", metadata=True) as box:
        begun = time.monotonic()
        with pytest.raises(SuspectError, match="does not describe itself"):
            box.ask(questions(2))
        assert time.monotonic() - begun < SOON_S


def full(connection: socket.socket) -> None:
    """Takes nothing of what it is sent."""
    time.sleep(60)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_suspect_that_does_not_take_the_question(stopped: bool) -> None:
    stop = threading.Event()
    remote = remote_of({"url": "http://a/v1/models/m:predict"}, CLASSES)
    with spoken(full) as url, client_of(remote) as client:
        if stopped:
            threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with (
            pytest.raises(StoppedError if stopped else httpx.WriteTimeout),
            heeding(stop.is_set),
            within(50 if stopped else TIMEOUT_S),
        ):
            client.post(url, content=b"0" * 60_000_000, timeout=50)
        assert time.monotonic() - begun < SOON_S


@pytest.mark.parametrize("stopped", [False, True])
def test_a_handshake_that_does_not_end(stopped: bool) -> None:
    stop = threading.Event()
    remote = remote_of({"url": "http://a/v1/models/m:predict"}, CLASSES)
    with spoken(silent) as url, client_of(remote) as client:
        if stopped:
            threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with (
            pytest.raises(StoppedError if stopped else httpx.ConnectTimeout),
            heeding(stop.is_set),
            within(50 if stopped else TIMEOUT_S),
        ):
            client.get(url.replace("http", "https"), timeout=50)
        assert time.monotonic() - begun < SOON_S


def test_a_name_that_leads_to_many_addresses_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)  # what comes once its queue is full is dropped
    queued = [socket.socket() for _ in range(4)]
    for one in queued:
        one.setblocking(False)
        one.connect_ex(deaf.getsockname())
    many = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", deaf.getsockname())] * 50
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: many)
    remote = remote_of({"url": "http://a/v1/models/m:predict"}, CLASSES)
    with client_of(remote) as client:
        begun = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout), within(TIMEOUT_S):
            client.get("http://many.example/", timeout=50)
        assert time.monotonic() - begun < SOON_S
        with socket.create_server(("127.0.0.1", 0)) as good:  # the last of three is reached all the same
            many[2:] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", good.getsockname())]
            with within(3 * TIMEOUT_S), pytest.raises(httpx.ReadTimeout):
                client.get("http://some.example/", timeout=50)
    for one in (deaf, *queued):
        one.close()


def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", looked_up_for_ever)
    remote = remote_of({"url": "http://a/v1/models/m:predict"}, CLASSES)
    with client_of(remote) as client:
        begun = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout), within(TIMEOUT_S):
            client.get("http://slow.example/", timeout=50)
        assert time.monotonic() - begun < SOON_S


def test_trouble_with_one_request_does_not_throw_away_the_answers_to_others(tmp_path: Path) -> None:
    """What is under way is paid for: it is waited for, unless whoever asks has stopped the audit."""
    seen: list[int] = []

    def one_bad(asked: Asked) -> Reply:
        number = len(seen)
        seen.append(number)
        if number == 1:
            time.sleep(0.2)
            return 400, {}, b"no"
        time.sleep(0.8 if number else 0)
        return 200, {}, b'{"predictions": [[0.1, 0.2, 0.3, 0.4]]}'

    with (
        scripted(one_bad) as url,
        asked(tmp_path, url + "/v1/models/m:predict", batch=1, concurrency=2, timeout_s=20) as box,
    ):
        with pytest.raises(SuspectError, match="answers 400"):
            box.ask(questions(6))
        assert len(seen) == 3 and box._ledger.spent == 2 and box._ledger.lost == 0


def test_grpc_is_stopped_too(tmp_path: Path) -> None:
    stop = threading.Event()
    with spoken(silent) as url:
        address = url.replace("http", "grpc") + "/m"
        with asked(tmp_path, address, stop.is_set, timeout_s=50, metadata=True) as box:
            threading.Timer(0.3, stop.set).start()
            begun = time.monotonic()
            with pytest.raises(StoppedError, match="was stopped"):
                box.ask(questions(2))
            assert time.monotonic() - begun < SOON_S


def test_connections_are_kept_and_answers_right(tmp_path: Path) -> None:
    from tests.support.asking import MODEL

    with (
        serving(Stranger(MODEL, CLASSES)) as stranger,
        asked(tmp_path, stranger.url + "/v1/models/m:predict", batch=3, timeout_s=20) as box,
    ):
        assert torch.allclose(box.ask(questions(24)), truth(questions(24)), atol=1e-6)


def certificate(folder: Path) -> tuple[Path, Path]:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("trusted", [True, False])
def test_an_encrypted_suspect_is_asked_and_its_certificate_checked(trusted: bool, tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    content = b'{"predictions": [' + b"[0.1,0.2,0.3,0.4]," * 9_999 + b"[0.1,0.2,0.3,0.4]]}"

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            for _ in range(2):  # one connection takes both
                got = b""
                while not got.endswith(b"}"):
                    got += encrypted.recv(65536)
                encrypted.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content)

    remote = remote_of(
        {"url": "http://a/v1/models/m:predict"} | ({"ca": str(public)} if trusted else {}), CLASSES
    )
    with spoken(speak) as url, client_of(remote) as client, within(20):
        for _ in range(2 if trusted else 0):
            assert (
                client.post(url.replace("http", "https"), content=b'{"a": "%s"}' % (b"b" * 300_000)).content
                == content
            )
        if not trusted:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                client.post(url.replace("http", "https"), content=b"{}")
