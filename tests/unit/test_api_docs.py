"""Every curl line of docs/api.md, run as it stands."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bodies import as_arrow, as_parquet, table
from tests.support.kits import K
from tests.support.onnx_files import export_onnx
from tests.support.places import ROOT
from tests.support.service import CLASSES, COPY, Place, as_json
from tests.support.serving import listening
from tests.support.strangers import Stranger
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

LINES = re.findall(r"`(curl [^`]+)`", (ROOT / "docs" / "api.md").read_text())


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:
    with listening(place.client.app) as url:
        yield url


def test_every_line_is_answered(address: str, place: Place, stranger: Stranger, tmp_path: Path) -> None:
    test = place.kit.twin_test
    answers = TorchBlackBox(COPY, K).ask(test.questions())
    views = TorchBlackBox(COPY, K).ask(place.kit.questions().flatten(0, 2))
    for name, content in {
        "answers.f32": answers.numpy().tobytes(),
        "first.f32": answers[: test.looks[1]].numpy().tobytes(),
        "views.f32": views.numpy().tobytes(),
        "answers.json": as_json(answers),
        "answers.arrow": as_arrow(table(answers)),
        "answers.parquet": as_parquet(table(answers)),
        "labels.json": json.dumps({"labels": [CLASSES[i] for i in answers.argmax(1)]}).encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
    export_onnx(COPY, tmp_path / "theirs.onnx")
    open_store(str(place.folder / "store")).save(
        "report", "digits", {"report.html": b"<!doctype html><title>r</title>"}, {}
    )
    known = {
        "URL": address,
        "KEY": place.keys["all"],
        "KIT": place.id,
        "SUSPECT": stranger.url + "/v2/models/m/infer",
    }
    assert len(LINES) == 29
    for line in LINES:
        if "$AUDIT" in line:
            known["AUDIT"] = json.loads((tmp_path / "audit.json").read_text())["id"]
        if "$VERDICT" in line:
            known["VERDICT"] = json.loads(place.ask("/verdicts?kind=score&decision=stolen", "all").content)[
                "verdicts"
            ][0]["id"]
        # As many as the documented kit has, and this one has not.
        line = line.replace("queries=500", f"queries={test.looks[1]}")
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=known | {"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stderr)
        if "/score" in line or "/model?" in line:
            data = json.loads(done.stdout)
            assert data["suspect"] == "theirs" and (
                data["paper"] if "paper" in line else data["twins"]["decision"] == "stolen"
            )
    assert (tmp_path / "queries.zip").read_bytes()[:2] == b"PK" and (
        tmp_path / "report.html"
    ).read_text().startswith("<!doctype")
