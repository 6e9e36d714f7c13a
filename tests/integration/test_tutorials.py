"""The tutorials of the digits, done as they say, on a store in which the audit has finished: nothing is
trained anew but two suspects."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.finished import Finished
from tests.support.howto import Town, commands
from tests.support.places import ROOT

pytestmark = pytest.mark.processes
NOTEBOOK = ROOT / "docs" / "tutorials" / "digits.ipynb"


def test_notebook_runs_and_finds_what_it_says(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.store, tmp_path / "store")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "54 reused" in printed and re.search(r"piracy +stolen +stolen +p 0\.05  rank 1 of 20", printed)
    assert any("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", []))


def test_notebook_is_kept_with_what_it_printed() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [bool(cell.outputs) for cell in cells] == [
        False,
        True,
        True,
        True,
    ], "execute it again, and keep its outputs"
    assert not re.search(r"/(home|root|tmp|work)/", NOTEBOOK.read_text())


def test_digits_in_two_minutes(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.store, tmp_path / "store")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    names = {"f4b3": run("zooaudit kit --store store", tmp_path).split()[0]}
    printed_by = {}
    for command in commands("docs/digits.md"):
        if command.text.startswith(("make ", "zooaudit audit")):
            continue
        text = command.text
        for placed, there in names.items():
            text = re.sub(rf"(?<= ){placed}(?= |$)", there, text)
        printed_by[command.text] = run(text, tmp_path)
        if "taken.onnx" in text:
            names["9415"] = printed_by[command.text].split("evidence ")[1].split()[0]
    taken, own = (
        next(out for text, out in printed_by.items() if f"{name}.onnx" in text) for name in ("taken", "own")
    )
    assert taken.startswith("stolen: p 0.05 <= 0.05") and own.startswith("not shown: p ")
    assert (
        "ok " in next(out for text, out in printed_by.items() if "kit show" in text)
        and (tmp_path / "why.html").stat().st_size > 10_000
    )


def run(command: str, folder: Path) -> str:
    program, *words = shlex.split(command)
    if program == "zooaudit":
        done = Town(folder, {}).run(command)  # in this process
        assert done.code == 0, done.err
        return done.out
    return subprocess.run(
        [sys.executable, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
