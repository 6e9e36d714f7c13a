"""Archives, questions and answers from strangers stay bounded; what their files name of this machine's
secrets is asked for first."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.parquet_bombs import bomb
from zooaudit import client as clients
from zooaudit import client_replies
from zooaudit.cli.main import main
from zooaudit.client import Client
from zooaudit.data import limited_parquet
from zooaudit.data.zip_limits import check_listing
from zooaudit.errors import ConfigError, DataError, InputError, ModelError, ServiceError
from zooaudit.evidence.packs import opened
from zooaudit.suspects import answers, offline
from zooaudit.suspects import exported as exporting
from zooaudit.suspects.exported import load_exported
from zooaudit.suspects.how import How
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.opened import OpenSuspect
from zooaudit.suspects.weights import refuse_pickle

CLASSES = ("a", "b", "c")


def archive(path: Path, members: int = 1, size: int = 0, name: str = "x/data/weights/w{}") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for i in range(members):
            made.writestr(name.format(i), b"\0" * size)
    return path


def test_a_pt2_of_many_or_of_swelling_members_is_refused_before_any_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    for made, says in (
        (archive(tmp_path / "many.pt2", 50_001), r"expected 50,000 (members )?at most"),
        (archive(tmp_path / "bomb.pt2", 2, 40 * 2**20), "expected 50 times as much at most"),
        (
            archive(tmp_path / "json.pt2", 1, 2**20, "x/models/model.json"),
            "model.json has 1,048,576 bytes; expected 1,000 at most",
        ),
    ):
        if made.stem == "json":
            monkeypatch.setattr(exporting, "MOST_JSON_BYTES", 1000)
        with pytest.raises(ModelError, match=says):
            load_exported(made)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(tmp_path / "twice.pt2", 2, 1, "x/models/model.json")
    with pytest.raises(ModelError, match="two members of one name"):
        load_exported(twice)


@pytest.mark.parametrize("long", [False, True])
def test_a_list_of_members_is_measured_before_it_is_read(
    long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a zip of nothing but its end, which says that a gigabyte of it is a list."""
    path, size = tmp_path / "x.zip", 2**30
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, size, 0, 0)
    if long:
        record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2**24, 2**24, size, 0)
        tail = (
            record
            + b"PK\x06\x07"
            + struct.pack("<IQI", 0, size, 1)
            + b"PK\x05\x06"
            + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 1, 0, 0)
        )
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(tail)
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", None)
    with pytest.raises(
        ValueError, match="its list of members has 1,073,741,824 bytes; expected 1,000 members at most"
    ):
        check_listing(path, 1000)
    with pytest.raises(InputError, match="1,000 members at most"), opened(path):
        pass
    with pytest.raises(ModelError, match="expected safetensors"):
        refuse_pickle(path)


def test_sound_archives_are_not_refused(tmp_path: Path, exported: Path) -> None:
    load_exported(exported)
    check_listing(archive(tmp_path / "some.zip", 1000, name="a-rather-long-folder/and-a-file-{}"), 1000)


# Parquet that comes back


def answering(body: bytes) -> Client:
    return Client(
        "http://service", transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    )


def test_questions_of_a_service_are_read_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 32 * 2**20)
    monkeypatch.setattr(clients, "MOST_QUERY_BYTES", 8 * 2**20)
    for body in (bomb(2_000_000, 20), b"PAR1", b"{}", bomb(3)):
        with pytest.raises(
            ServiceError, match=r"the service's questions cannot be read .*is it a scoring service"
        ):
            answering(body).queries("k")
    monkeypatch.setattr(client_replies, "MOST_REPLY_BYTES", 1000)
    with pytest.raises(ServiceError, match="answers with more than 1,000 bytes"):
        answering(b"x" * 1001).queries("k")


def test_questions_come_through(tmp_path: Path) -> None:
    import torch

    images = torch.rand(3, 1, 2, 2)
    sink = io.BytesIO()
    pq.write_table(offline.questions_table(images, "k", CLASSES), sink)
    asked = answering(sink.getvalue()).queries("k")
    assert torch.equal(torch.from_numpy(asked.images.copy()), images) and asked.classes == CLASSES


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_a_large_table_leaves_room_for_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where less is allowed for the second, by the same process."""
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 64 * 2**20)
    made = limited_parquet.Reader()
    many, few = (parquet(pa.table({"a": np.zeros(n)})) for n in (30_000_000, 100_000))
    assert made.table(many, most_bytes=2**28)[0].num_rows == 30_000_000
    assert made.table(few, most_bytes=2**20)[0].num_rows == 100_000


def test_a_file_that_was_given_up_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while one is unpacked; and one whose bytes do not fit, in which whatever
    follows would be the next question."""
    made = limited_parquet.Reader()
    first, second = (parquet(pa.table({"a": [n]})) for n in (1, 2))
    made.table(first)
    process = made._process
    assert process and process.stdout
    read = process.stdout.read

    def interrupted(_: int) -> bytes:
        process.stdout.read = read  # type: ignore[method-assign]
        raise KeyboardInterrupt

    process.stdout.read = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        made.table(first)
    assert made.table(second)[0].to_pydict() == {"a": [2]}
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 32 * 2**20)
    inner = limited_parquet.ASKED.pack(len(first), 10, 2**20, 2**26) + first
    with pytest.raises(DataError, match="it takes more than 32 MiB"):
        made.table(inner * (2**27 // len(inner)), most_bytes=1)
    assert made.table(second)[0].to_pydict() == {"a": [2]}


def test_parquet_is_read_under_a_limit_of_the_users_own() -> None:
    """As batch systems set it."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33));from"
        " zooaudit.data.limited_parquet import reader;"
        " print(reader.table(sys.stdin.buffer.read())[0].to_pydict())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=parquet(pa.table({"a": [1]})),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.decode().strip() == "{'a': [1]}", result.stderr.decode()


def test_answers_are_read_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_parquet, "MEMORY_BYTES", 32 * 2**20)
    monkeypatch.setattr(answers, "MOST_TABLE_BYTES", 8 * 2**20)
    (tmp_path / "bomb.parquet").write_bytes(bomb(2_000_000, 20))
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.json")
    for name, says in (
        ("bomb.parquet", "cannot be read"),
        ("zero.csv", "not a plain file"),
        ("pipe.json", "not a plain file"),
    ):
        with pytest.raises(InputError, match=says):
            offline.read_answers(tmp_path / name, Naming(CLASSES), "k")
    monkeypatch.setattr(offline, "MOST_BYTES", 5000)
    (tmp_path / "large.json").write_text(json.dumps([{"query": i, "label": "a"} for i in range(1000)]))
    with pytest.raises(InputError, match="not a plain file of 5,000 bytes at most"):
        offline.read_answers(tmp_path / "large.json", Naming(CLASSES), "k")
    pq.write_table(pa.table({"query": [1, 0], "label": ["b", "a"]}), tmp_path / "good.parquet")
    rows, _ = offline.read_answers(tmp_path / "good.parquet", Naming(CLASSES), "k")
    assert rows.argmax(1).tolist() == [0, 1]


# Secrets


NAMING = {
    'key_env = "AWS_SECRET_ACCESS_KEY"': (
        "the value of AWS_SECRET_ACCESS_KEY to be sent to",
        ["AWS_SECRET_ACCESS_KEY"],
    ),
    'sign = "oauth"\noauth_url = "https://tokens.example/t"\noauth_id_env = "ID"\noauth_secret_env = "S"': (
        "the value of ID, S to be sent to tokens.example",
        ["ID", "S"],
    ),
    'sign = "aws"\naws_region = "eu-1"\naws_service = "sagemaker"': (
        "AWS's credentials to be used for",
        ["AWS"],
    ),
}


@pytest.mark.parametrize("named", NAMING)
def test_a_file_that_names_secrets_is_refused_until_they_are_allowed(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "ID", "S"):
        monkeypatch.setenv(name, "secret-value")
    path = tmp_path / "theirs.toml"
    path.write_text(f'url = "https://theirs.example/v2/models/m/infer"\n{named}\n')
    says, names = NAMING[named]
    with pytest.raises(ConfigError, match=says) as caught:
        OpenSuspect.to(str(path), How("k", (1, 4, 4), CLASSES, budget=10, ledger=tmp_path / "l.sqlite"))
    assert all(
        f"--allow-key-env {name}" in str(caught.value) for name in names
    ) and "secret-value" not in str(caught.value)
    for some in [frozenset(names[:-1]), frozenset({"OTHER"})]:
        with pytest.raises(ConfigError, match=f"--allow-key-env {names[-1]}"):
            OpenSuspect.to(
                str(path), How("k", (1, 4, 4), CLASSES, budget=10, ledger=tmp_path / "l.sqlite", allowed=some)
            )
    how = How("k", (1, 4, 4), CLASSES, budget=10, ledger=tmp_path / "l.sqlite", allowed=frozenset(names))
    with OpenSuspect.to(str(path), how) as opened:
        assert opened.ledger == tmp_path / "l.sqlite"


def test_the_command_takes_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", "--help"])
    assert ended.value.code == 0 and "--allow-key-env NAME" in capsys.readouterr().out
