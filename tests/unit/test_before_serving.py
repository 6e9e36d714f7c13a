"""What ``zooaudit serve`` looks at before anything starts, and when it says that it is ready."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.seaweed import free_ports
from tests.support.kits import make_kit
from tests.support.places import ROOT
from tests.support.scripted import Asked, Reply, scripted
from zooaudit.cli.main import main
from zooaudit.errors import ConfigError, FarmError
from zooaudit.kits.kit import save_kit
from zooaudit.serving import local_ray
from zooaudit.serving.local_ray import last_line, wait_until_ready
from zooaudit.serving.preflight import own_data, own_port
from zooaudit.storage.opening import open_store


@contextlib.contextmanager
def listener(port: int, host: str = "127.0.0.1", shared: bool = False) -> Iterator[socket.socket]:
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind((host, port))
        own.listen()
        yield own


@pytest.mark.parametrize("shared", [False, True], ids=["another program", "another service's proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken_is_refused(shared: bool, host: str) -> None:
    (port,) = free_ports(1)
    with (
        listener(port, host, shared),
        pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1 is taken by process {os.getpid()} "),
    ):
        own_port("127.0.0.1", port)
    own_port("127.0.0.1", port).close()


def test_a_port_is_held_from_before_the_proxy_listens() -> None:
    """It takes half a minute until it does; two services that start at once must not both get there."""
    (port,) = free_ports(1)
    with own_port("127.0.0.1", port):
        with pytest.raises(ConfigError, match="is taken"):
            own_port("127.0.0.1", port)
        with listener(port, shared=True), pytest.raises(ConfigError, match="is taken"):
            own_port("127.0.0.1", port)


def test_a_port_whose_service_has_just_ended_is_free() -> None:
    (port,) = free_ports(1)
    with listener(port, shared=True) as own, socket.create_connection(("127.0.0.1", port)) as caller:
        taken, _ = own.accept()
        taken.close()  # who closes first keeps the port waiting
        assert caller.recv(1) == b""
    own_port("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("127.0.0.1", 0, "expected 1 to 65535"),
        ("127.0.0.1", 70_000, "expected 1 to 65535"),
        ("no.such.host.invalid", 80, "an address of this machine"),
        ("203.0.113.7", 8000, "not an address of this machine"),
    ],
)
def test_a_place_that_cannot_be_listened_at_is_refused(host: str, port: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        own_port(host, port)


def test_two_services_do_not_share_their_data(tmp_path: Path) -> None:
    used = f"used by another service, process {os.getpid()}; give each its own"
    with own_data(tmp_path / "data"), pytest.raises(ConfigError, match=used), own_data(tmp_path / "data"):
        pass
    with own_data(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """Runs ``zooaudit serve`` with options where a store with a kit is: exit code, and what it said."""
    save_kit(open_store(str(tmp_path / "store")), make_kit())
    monkeypatch.chdir(tmp_path)

    def not_yet(*_: object) -> str:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("zooaudit.cli.serve.start_ray", not_yet)
    for name in [n for n in os.environ if n.startswith("ZOOAUDIT_")]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield lambda *options: (main(["serve", "--port", str(free_ports(1)[0]), *options]), capsys.readouterr())
    for name in set(os.environ) - set(before):
        del os.environ[name]


def test_everything_that_can_be_known_is_said_before_ray_starts(said: object, tmp_path: Path) -> None:
    assert callable(said)
    (port,) = free_ports(1)
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("[[key]]\nname = ")
    (tmp_path / "plain").mkdir()
    with listener(port):
        cases = [
            (["--port", str(port)], 2, f"port {port} on 127.0.0.1 is taken"),
            (["--data", "file"], 2, "--data file cannot be written"),
            (["--data", "file/below"], 2, "cannot be written"),
            (["--keys", "bad.toml"], 2, "bad.toml cannot be read"),
            (["--suspects", "ftp://models.example/x"], 2, "expected a host, host:port"),
            (["--store", "typo"], 3, "there is no store at"),
            (["--store", "plain"], 3, "nothing was ever stored there"),
            (["--store", "file"], 3, "there is no store at"),
        ]
        for options, code, says in cases:
            found, output = said(*options)
            assert (found, output.out) == (code, "") and says in output.err, (options, output)
            first, *_, last = output.err.splitlines()
            assert first.startswith("looking at port") and says in last and "Traceback" not in output.err
    assert not (tmp_path / "typo").exists() and not (tmp_path / "serve-data" / "keys.toml").exists(), (
        "nothing is made for what does not start"
    )


def test_a_store_without_kits_is_said(said: object, tmp_path: Path) -> None:
    assert callable(said)
    open_store(str(tmp_path / "empty"))
    open_store(str(tmp_path / "empty")).save("report", "r", {"report.html": b""}, {})
    with pytest.raises(AssertionError, match="Ray was started"):
        said("--store", "empty", "--open")


def test_the_first_line_comes_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """Counted in modules, not in seconds."""
    program = (
        "import sys\nfrom zooaudit.cli.main import main\nheavy = {'torch', 'ray', 'numpy', 'boto3',"
        " 'fastapi', 'pyarrow'}\nclass Err:\n def write(self, text): sys.__stdout__.write(text +"
        " str(sorted(heavy & set(sys.modules))))\n def flush(self): pass\nsys.stderr = Err()\nmain(['serve',"
        " '--store', 'none'])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("looking at port 8000, serve-data and the keys[]"), done.stdout


def test_ready_is_what_the_service_says_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ray, "NEWS_S", 0.0)
    answers = [
        (500, b"Internal Server Error"),
        (503, b'{"detail": "the store does not answer"}'),
        (503, b"[1]"),
        (200, b'{"status": "ready"}'),
    ]
    rows: list[str] = []

    def reply(asked: Asked) -> Reply:
        assert asked.path == "/ready"
        status, body = answers.pop(0)
        return status, {"Content-Type": "application/json"}, body

    with scripted(reply) as url:
        port = int(url.rsplit(":", 1)[1])
        wait_until_ready("0.0.0.0", port, rows.append)
    assert answers == [] and rows == [
        "not ready yet: it answers 500",
        "not ready yet: the store does not answer",
        "not ready yet: it answers 503",
    ]


def test_a_service_that_does_not_become_ready_is_given_up() -> None:
    (port,) = free_ports(1)
    begun = time.monotonic()
    with pytest.raises(FarmError, match=r"not ready after 1 s: it does not answer \(.*refused"):
        wait_until_ready("127.0.0.1", port, print, seconds=1.0)
    assert time.monotonic() - begun < 10


def test_of_an_error_in_another_process_the_last_line_is_told_without_colours() -> None:
    error = RuntimeError("\x1b[36mray::Proxy.run()\x1b[39m (pid=1)\n  File x\nRuntimeError: no room\n\n")
    assert last_line(error) == "RuntimeError: no room" and last_line(ValueError()) == "ValueError"
