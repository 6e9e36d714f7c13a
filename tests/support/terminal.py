"""What a command prints, and what it leaves behind."""

from pathlib import Path

import pytest

from zooaudit.cli.main import main

Capture = pytest.CaptureFixture[str]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def one_line(capsys: Capture) -> str:
    """The error that was printed: a single line with our name in front, and nothing on standard output."""
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("zooaudit: ")]
    assert len(errors) == 1 and "Traceback" not in err, err
    assert out == ""
    return errors[0]


def audit(store: Path, out: Path, *more: str) -> int:
    return main(
        ["audit", "--recipe", "digits", "--farm", "serial", "--store", str(store), "--out", str(out), *more]
    )
