"""Audits of suspects with other classes, in another order, that know nothing."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.kits import K
from tests.support.service import CLASSES, COPY, Place, ended, problem, submitted
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.serving.audit_records import OPEN
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store


class Finer(torch.nn.Module):
    """A copy that tells one of the kit's classes as two."""

    def forward(self, x: Tensor) -> Tensor:
        logits = COPY(x)
        return torch.cat([logits[:, :1] + math.log(0.75), logits[:, :1] + math.log(0.25), logits[:, 1:]], 1)


def test_an_audit_of_a_suspect_with_classes_of_its_own(
    place: Place, stranger: Stranger, tmp_path: Path
) -> None:
    url = stranger.url + "/v2/models/m/infer"
    result = ended(place, submitted(place, {"url": url, "batch": 9}, suspect_classes=K + 1).json()["id"])
    assert (
        result["state"] == "failed"
        and f"{K} numbers" in result["error"]
        and f"expected {K + 1}" in result["error"]
    )
    problem(submitted(place, {"url": url}, suspect_classes=1), 422, "suspect_classes")
    with serving(Stranger(Finer(), (*CLASSES, "slipper"))) as finer:
        auditor = Auditor(
            Settings(
                str(place.folder / "store"), data=tmp_path, suspects=(finer.url.removeprefix("http://"),)
            )
        )
        suspect = {"url": finer.url + "/v2/models/m/infer"}
        id_ = auditor.submit("me", {"kit": place.id, "suspect": suspect, "suspect_classes": K + 1})["id"]
        while (result := auditor.get(id_) or {})["state"] in OPEN:
            time.sleep(0.02)
        auditor.close()
    assert result["state"] == "done" and result["result"]["decision"] == "stolen", result


def test_evidence_says_how_a_suspect_was_asked(
    place: Place,
    stranger: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(str(place.folder / "store"))
    url = stranger.url + "/v2/models/m/infer"
    kept = ended(place, submitted(place, {"url": url, "scale": 1.0000005}).json()["id"])["result"]["evidence"]
    rows = ["metadata: input 'pixels' FP32 [-1, 1, 4, 4]", "pixels go as FP32, times 1, plus 0, layout nchw"]
    assert store.load("evidence", kept).meta["contract"] == {"said": {}, "seen": rows}
    for _ in range(2):  # the second asks nobody anything
        assert (
            main(
                [
                    "score",
                    "--store",
                    str(place.folder / "store"),
                    "--kit",
                    place.id,
                    "--suspect",
                    url,
                    "--json",
                ]
            )
            == 0
        )
        found = store.load("evidence", json.loads(capsys.readouterr().out)["evidence"]).meta
        assert found["contract"] == {"said": {}, "seen": rows}
    (tmp_path / "theirs.toml").write_text(f'url = "{stranger.url}/v1/models/m:predict"')
    assert (
        main(
            [
                "score",
                "--store",
                str(place.folder / "store"),
                "--kit",
                place.id,
                "--suspect",
                "theirs.toml",
                "--json",
            ]
        )
        == 0
    )
    assert "contract" not in store.load("evidence", json.loads(capsys.readouterr().out)["evidence"]).meta


@pytest.fixture
def odd(stranger: Stranger) -> Iterator[Stranger]:
    """The stranger, as it was again afterwards."""
    model = stranger.model
    yield stranger
    stranger.model, stranger.order = model, ()


def test_an_audit_of_a_suspect_in_another_order_says_what_score_says(
    place: Place,
    odd: Stranger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    odd.order, before = (3, 2, 1, 0), odd.computed
    url = odd.url + "/v2/models/m/infer"
    data = ended(place, submitted(place, {"url": url, "scale": 1.0000002}).json()["id"])["result"]
    assert (
        main(["score", "--store", str(place.folder / "store"), "--kit", place.id, "--suspect", url, "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert data["decision"] == said["decision"] == "cannot tell" and data["evidence"] is None
    assert (data["reason"], data["hint"]) == (said["reason"], said["hint"]) and data["hint"].endswith(
        "columns = [3, 2, 1, 0]"
    )
    checks = place.kit.twin_test.control_questions
    assert data["charged"] == data["queries"] == checks and odd.computed == before + 2 * checks
    asked = submitted(place, {"url": url, "scale": 1.0000002}, ask_everything=True).json()["id"]
    data = ended(place, asked)["result"]
    assert (
        data["decision"] != "stolen"
        and data["hint"] == said["hint"]
        and data["queries"] == place.kit.twin_test.budget
    )
    mended = {"url": url, "scale": 1.0000002, "columns": [3, 2, 1, 0]}
    assert ended(place, submitted(place, mended).json()["id"])["result"]["decision"] == "stolen"


def test_an_audit_of_a_suspect_that_knows_nothing_ends_early(place: Place, odd: Stranger) -> None:
    odd.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, K))
    torch.nn.init.zeros_(odd.model[1].weight)
    reply = ended(
        place, submitted(place, {"url": odd.url + "/v2/models/m/infer", "scale": 1.0000003}).json()["id"]
    )
    result, checks = reply["result"], place.kit.twin_test.control_questions
    assert reply["state"] == "done" and result["decision"] == "cannot tell" and result["charged"] == checks
    assert (
        "control images, no better than by chance" in result["reason"]
        and "ask_everything" in result["reason"]
    )
    assert (result["p_value"], result["statistics"], result["standing"], result["evidence"]) == (
        None,
        [],
        "",
        None,
    )


@pytest.mark.parametrize(
    "suspect",
    [
        {"headers": 5},
        {"headers": [1]},
        {"headers": {"X": 5}},
        {"columns": [1, "a", 2, 3]},
        {"classes": [["a"], "b", "c", "d"]},
        {"url": "http://[::1/infer"},
        {"url": "http://127.0.0.1:9/\ud800/infer"},
        {"patience_s": 5000.0},
        {"rate": 1e-6},
    ],
)
def test_settings_of_another_kind_are_refused_and_not_entered(suspect: dict[str, Any], place: Place) -> None:
    before = place.ask("/audits", "audit").json()
    refused = submitted(place, {"url": "http://127.0.0.1:9/v2/models/m/infer"} | suspect)
    problem(refused, 400 if "JSON" in refused.text else 422)
    assert place.ask("/audits", "audit").json() == before
