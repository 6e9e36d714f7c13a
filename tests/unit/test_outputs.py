"""A folder that cannot be written, another's report, and a store that is not there: one line, before the
work, and nothing is changed."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.finished import Finished
from tests.support.terminal import one_line, snapshot
from zooaudit.auditing import pipeline
from zooaudit.cli.main import main
from zooaudit.storage.opening import open_store

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@contextlib.contextmanager
def reading_only(folder: Path) -> Iterator[None]:
    """Nobody can write into it, root neither."""
    folder.chmod(0o555)
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], check=False).returncode
    )
    try:
        try:
            (folder / "x").touch()
        except OSError:
            yield
        else:
            pytest.fail(
                "this test needs a folder that cannot be written: run it as another user than root, or where"
                " root may mount"
            )
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        folder.chmod(0o755)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read-only"
    folder.mkdir()
    with reading_only(folder):
        yield folder


@pytest.fixture
def idle(monkeypatch: Patch) -> None:
    """Whoever begins the work fails."""
    monkeypatch.setattr(pipeline, "run_audit", lambda *_: pytest.fail("it began to work"))


def kit_of(finished: Finished) -> str:
    return open_store(str(finished.store), writes=False).ids("kit")[0]


def evidence_of(store: Path, kit: str, tmp_path: Path) -> str:
    answers = tmp_path / "answers.csv"
    rows = [f'{i},"{[float(k == i % 10) for k in range(10)]}"' for i in range(200)]
    answers.write_text("query,probabilities\n" + "\n".join(rows))
    assert main(["score", "--store", str(store), "--kit", kit, "--answers", str(answers)]) == 0
    return open_store(str(store)).ids("evidence")[0]


COMMANDS = {
    "audit": ["audit", "--recipe", "digits", "--farm", "serial"],
    "report": ["report", "--run", "digits"],
    "kit queries": ["kit", "queries", "--kit", "KIT", "--out", "queries.zip"],
    "data": ["data", "--dataset", "digits", "--out", "looked"],
    "study": ["study", "similarity", "--recipe", "digits"],
    "sweep": ["sweep", "points=10,20", "--recipe", "digits"],
    "recipe": ["recipe", "new", "--dataset", "digits", "--out", "mine.toml"],
    "explain": ["explain", "EVIDENCE", "--out", "why.html"],
    "evidence": ["evidence", "export", "case.zip", "--evidence", "EVIDENCE"],
    "key": ["key", "--name", "a", "--keys", "keys.toml"],
}
WITHOUT_STORE = ("data", "recipe", "key")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_is_said_in_a_line_before_the_work(
    name: str,
    finished: Finished,
    own_store: Path,
    read_only: Path,
    tmp_path: Path,
    idle: None,
    monkeypatch: Patch,
    capsys: Capture,
) -> None:
    kit = kit_of(finished)
    evidence = evidence_of(own_store, kit, tmp_path) if "EVIDENCE" in COMMANDS[name] else ""
    monkeypatch.chdir(read_only)
    capsys.readouterr()
    words = [{"KIT": kit, "EVIDENCE": evidence}.get(w, w) for w in COMMANDS[name]]
    assert main([*words, *([] if name in WITHOUT_STORE else ["--store", str(own_store)])]) == 2
    assert "Read-only file system" in (line := one_line(capsys)) or "Permission denied" in line


def test_a_file_that_nobody_looked_at_beforehand_is_a_line_too(
    tmp_path: Path, read_only: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    def surprise(*_: object) -> int:
        (read_only / "surprise").write_text("")
        return 0

    monkeypatch.setattr("zooaudit.cli.audit.doctor", surprise)
    assert main(["doctor"]) == 2
    assert "read-only/surprise" in one_line(capsys)


READING = {
    "kit": ["kit"],
    "kit show": ["kit", "show", "--kit", "4f"],
    "kit queries": ["kit", "queries", "--kit", "4f", "--out", "q.zip"],
    "kit add-twins": ["kit", "add-twins", "--kit", "4f", "--twins", "20"],
    "score": ["score", "--kit", "4f", "--answers", "answers.csv"],
    "evidence": ["evidence", "export", "case.zip", "--evidence", "9c"],
    "explain": ["explain", "9c"],
    "report": ["report", "--run", "digits"],
    "study": ["study", "similarity", "--recipe", "digits"],
    "sweep": ["sweep", "points=10,20", "--recipe", "digits"],
    "store ls": ["store", "ls"],
    "store show": ["store", "show", "kit", "4f"],
    "store check": ["store", "check", "--repair"],
    "store gc": ["store", "gc", "--delete"],
    "store copy": ["store", "copy", "--to", "other"],
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("there", [False, True])
def test_who_reads_makes_no_store(
    name: str, there: bool, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "typo"
    if there:  # some other folder
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main([*READING[name], "--store", str(place)]) == 3
    assert f"there is no store at {place}" in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_answers_are_not_judged_for_a_store_that_cannot_keep_the_evidence(
    finished: Finished, own_store: Path, tmp_path: Path, capsys: Capture
) -> None:
    kit = kit_of(finished)
    with reading_only(own_store):
        capsys.readouterr()
        assert main(["score", "--kit", kit, "--answers", "nowhere.csv", "--store", str(own_store)]) == 2
        assert "allow reading only" in one_line(capsys)
        assert main(["kit", "--store", str(own_store)]) == 0, "who reads needs no more"


def test_an_audit_never_overwrites_another_stores_report(
    finished: Finished, tmp_path: Path, idle: None, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    report = ["report", "--store", str(finished.store), "--run", "digits"]
    assert main(report) == 0
    assert main(report) == 0, "the same report may be written again"
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert main(["audit", "--recipe", "digits", "--farm", "serial", "--store", "another"]) == 2
    assert f"reports/digits holds the report of run digits in store {finished.store}" in one_line(capsys)
    assert (
        main(
            [
                "audit",
                "--recipe",
                "digits",
                "--farm",
                "serial",
                "--store",
                "another",
                "--run",
                "two",
                "--out",
                "reports/digits",
            ]
        )
        == 2
    )
    assert "holds the report of run digits" in one_line(capsys)
    assert snapshot(tmp_path) == before


def test_nor_does_a_report_that_is_copied_out(
    own_store: Path, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports" / "digits").mkdir(parents=True)
    (tmp_path / "reports" / "digits" / "audit.json").write_text('{"run": "digits", "store": "/elsewhere"}')
    assert main(["report", "--store", str(own_store), "--run", "digits"]) == 2
    assert "holds the report of run digits in store /elsewhere" in one_line(capsys)
    (tmp_path / "reports" / "digits" / "audit.json").write_text("not ours")
    assert main(["report", "--store", str(own_store), "--run", "digits"]) == 2
    assert "holds the report of something else" in one_line(capsys)
