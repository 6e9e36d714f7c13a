"""Every score is kept, is its key's own, is listed with the audits, and can be explained
and sent to somebody else."""

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.support.kits import K
from tests.support.onnx_files import export_onnx
from tests.support.service import COPY, INNOCENT, SCOPES, Place, ended, problem
from tests.support.strangers import Stranger
from zooaudit.cli.main import main
from zooaudit.errors import NotWrittenError
from zooaudit.serving.keys import new_key
from zooaudit.serving.verdicts import Answers
from zooaudit.suspects.blackbox import TorchBlackBox


@pytest.fixture(scope="module", autouse=True)
def keys(place: Place) -> None:
    """Two keys more: one may explain, one may only score."""
    for name, scopes in {"full": SCOPES, "mine": ("score", "evidence"), "theirs": ("score",)}.items():
        place.keys[name], entry = new_key(name, scopes, 0, None)
        with (place.folder / "keys.toml").open("a") as file:
            file.write(entry)
    place.client.app.state.service.keyring._read_at = -1e9  # type: ignore[attr-defined]  # now, not in two seconds


def answers(place: Place, model: Any = COPY) -> Tensor:
    return TorchBlackBox(model, K).ask(place.kit.twin_test.questions())


def score(place: Place, suspect: str, key: str = "mine", model: Any = COPY, **query: Any) -> dict[str, Any]:
    body = json.dumps({"answers": answers(place, model).tolist()}).encode()
    reply = place.post(body, "application/json", key, suspect=suspect, **query)
    assert reply.status_code == 200, reply.content
    data: dict[str, Any] = reply.json()
    return data


def test_a_score_is_there_again_as_it_was_given_and_is_one_however_often_it_is_sent(
    place: Place,
) -> None:
    result = score(place, "once", level=0.2)
    found = place.ask(f"/verdicts/{result['id']}", "mine").json()
    assert (
        found["score"] | {"seconds": 0} == result | {"seconds": 0}
        and found["answers_kept"]
        and found["by"] == "mine"
    )
    assert found["asked"]["level"] == 0.2
    assert score(place, "once", level=0.2)["id"] == result["id"] != score(place, "once")["id"]
    assert score(place, "once", key="theirs", level=0.2)["id"] != result["id"]


def test_it_is_its_keys_own(place: Place) -> None:
    result = score(place, "own")
    for path in ("", "/page"):
        problem(place.ask(f"/verdicts/{result['id']}{path}", "theirs"), 404, "no such verdict")
        assert place.ask(f"/verdicts/{result['id']}{path}", "full").status_code == 200, (
            "admin sees everybody's"
        )
    assert result["id"] not in json.dumps(place.ask("/verdicts?limit=200", "theirs").json())
    problem(place.ask("/verdicts", "read"), 403, "scope score or audit or admin")


def test_scores_and_audits_are_listed_together_filtered_and_by_pages(
    place: Place,
    stranger: Stranger,
) -> None:
    for i in range(5):
        score(place, f"listed-{i}", "full", INNOCENT if i % 2 else COPY)
    suspect = {"url": f"{stranger.url}/v2/models/m/infer?token=SECRET"}
    made = place.ask("/audits", "full", json.dumps({"kit": place.id, "suspect": suspect}).encode())
    assert made.status_code == 202, made.content
    ended(place, made.json()["id"], "full")
    listed = place.ask("/verdicts?text=LISTED-", "full").json()
    assert [v["suspect"] for v in listed["verdicts"]] == [f"listed-{i}" for i in (4, 3, 2, 1, 0)] and listed[
        "next"
    ] is None
    assert [v["decision"] for v in listed["verdicts"]] == ["stolen", "not shown"] * 2 + ["stolen"]
    cut = "/verdicts?text=listed-&decision=stolen&limit=2"
    first = place.ask(cut, "full").json()
    rest = place.ask(f"{cut}&cursor={first['next']}", "full").json()
    assert [v["suspect"] for v in first["verdicts"] + rest["verdicts"]] == [
        "listed-4",
        "listed-2",
        "listed-0",
    ] and rest["next"] is None
    newest = place.ask("/verdicts?limit=1", "full").json()["verdicts"][0]
    assert (newest["id"], newest["kind"], newest["decision"]) == (made.json()["id"], "audit", "stolen")
    assert "SECRET" not in json.dumps(place.ask("/verdicts?kind=audit", "full").json())
    assert place.ask("/verdicts?text=SECRET", "full").json()["verdicts"] == [], (
        "nobody finds out a key by looking for its letters"
    )
    problem(place.ask("/verdicts?cursor=x", "full"), 422, "the cursor is not one")


def test_a_page_to_send_names_kit_and_answers_and_shows_questions_to_the_trusted_only(
    place: Place,
) -> None:
    result = score(place, "<b>sent</b>", "full", level=0.2)
    mine, theirs = (score(place, "sent", key)["id"] for key in ("mine", "theirs"))
    reply = place.ask(f"/verdicts/{result['id']}/page", "full")
    assert (
        "attachment" in reply.headers["Content-Disposition"]
        and "sandbox" in reply.headers["Content-Security-Policy"]
    )
    assert (
        result["digest"] in reply.text
        and result["answers_sha256"] in reply.text
        and "&lt;b&gt;sent" in reply.text
    )
    assert result["id"] in reply.text and re.search(
        r"Verdict given</th><td>20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", reply.text
    )
    assert (
        "zooaudit evidence verify PACK.zip" in reply.text
        and "of the answers as little-endian float32, row by row" in reply.text
    )
    assert "<img" in reply.text and "<img" in place.ask(f"/verdicts/{mine}/page", "mine").text
    bare = place.ask(f"/verdicts/{theirs}/page", "theirs").text
    assert "<img" not in bare and result["answers_sha256"] in bare and "stolen" in bare


def test_an_explanation_is_for_keys_that_may_have_the_victims_answers(place: Place) -> None:
    result = score(place, "explained")
    found = place.ask(f"/verdicts/{result['id']}/explanation", "mine").json()
    assert [c["victim"] for c in found["candidates"]] == [True] + [False] * 19 and len(
        found["questions"]
    ) == 10
    assert all(q["image"].startswith("data:image/png;base64,") for q in found["questions"])
    assert (
        found["verdict"]["p_value"] == result["twins"]["p_value"] and found["kit_sha256"] == result["digest"]
    )
    problem(place.ask(f"/verdicts/{result['id']}/explanation", "theirs"), 403, "scope evidence")
    problem(place.ask(f"/verdicts/{result['id']}/pack", "theirs"), 403, "scope evidence")


@pytest.mark.parametrize("kind", ["score", "audit"])
def test_a_pack_is_verified_by_whoever_gets_it(
    kind: str,
    place: Place,
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if kind == "score":
        id_ = score(place, "packed", "full")["id"]
    else:
        asked = {"kit": place.id, "suspect": {"url": f"{stranger.url}/v2/models/m/infer"}}
        id_ = place.ask("/audits", "full", json.dumps(asked).encode()).json()["id"]
        ended(place, id_, "full")
    reply = place.ask(f"/verdicts/{id_}/pack", "full")
    assert reply.status_code == 200 and zipfile.is_zipfile(io.BytesIO(reply.content))
    (tmp_path / "case.zip").write_bytes(reply.content)
    capsys.readouterr()
    assert main(["evidence", "verify", str(tmp_path / "case.zip"), "--store", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert "nothing speaks against it" in said
    page = place.ask(f"/verdicts/{id_}/page", "full").text
    for name in ("suspect", "kit_sha256", "answers_sha256"):  # what is on the page is what is in the pack
        (value,) = re.findall(rf"^{name} +(.*)$", said, re.MULTILINE)
        assert value in page, name
    assert place.ask(f"/verdicts/{id_}/explanation", "full").json()["verdict"]["decision"] == "stolen"


def test_a_verdict_on_one_of_several_says_so_wherever_it_goes(
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone, output = score(place, "alone", "full"), score(place, "batched", "full", suspects=3)
    assert not [c for c in alone["twins"]["cautions"] if "suspects" in c]
    (said,) = [c for c in output["twins"]["cautions"] if "one of 3 suspects" in c]
    assert output["twins"]["decision"] == "stolen" and said.endswith(
        "19 twins can call none of them stolen: that takes 59"
    )
    assert said in place.ask(f"/verdicts/{output['id']}", "full").json()["score"]["twins"]["cautions"]
    assert said in place.ask(f"/verdicts/{output['id']}/page", "full").text
    assert said in place.ask(f"/verdicts/{output['id']}/explanation", "full").json()["verdict"]["cautions"]
    pack = tmp_path / "batched.zip"
    pack.write_bytes(place.ask(f"/verdicts/{output['id']}/pack", "full").content)
    manifests = zipfile.ZipFile(pack)
    assert any(
        "one of 3 suspects" in manifests.read(name).decode(errors="ignore") for name in manifests.namelist()
    )
    capsys.readouterr()
    assert main(["evidence", "verify", str(pack), "--store", str(tmp_path / "theirs")]) == 0
    body = json.dumps({"answers": answers(place).tolist()}).encode()
    assert place.post(body, "application/json", "full", suspect="none", suspects=0).status_code == 422


def test_what_a_key_may_do_is_told(place: Place) -> None:
    data = place.ask("/key", "theirs").json()
    assert (data["name"], data["scopes"], data["open"], data["keeps"], data["suspects"]) == (
        "theirs",
        ["score"],
        False,
        True,
        [],
    )
    assert len(place.ask("/key", "full").json()["suspects"]) == 2
    problem(place.ask("/key", "wrong"), 401, "this service does not know that key")


def test_no_room_for_answers_takes_no_verdict_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise NotWrittenError("no room")

    monkeypatch.setattr(Answers, "put", full)
    result = score(place, "unkept")
    assert result["id"] == "" and result["twins"]["decision"] == "stolen"


def test_a_replica_starts_without_what_only_explanations_need() -> None:
    code = (
        "import sys, zooaudit.serving.application; print([m for m in ('matplotlib', 'jinja2', 'sklearn') if m"
        " in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_a_model_file_is_judged_and_kept_where_that_is_allowed(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = export_onnx(COPY, tmp_path / "m.onnx").read_bytes()
    path = f"/kits/{place.id}/model?suspect=file&kind=onnx"
    data = place.ask(path, "mine", body, "application/octet-stream").json()
    assert data["twins"]["decision"] == "stolen" and data["twins"]["queries"] == place.kit.twin_test.budget
    about = place.ask(f"/verdicts/{data['id']}", "mine").json()["asked"]
    assert about["model_sha256"] == hashlib.sha256(body).hexdigest()
    problem(place.ask(path, "mine", b"?", "application/octet-stream"), 422, "not a readable ONNX graph")
    problem(place.ask(path, "mine", bytes(2**20 + 1), "application/octet-stream"), 413, "1,048,576")
    problem(place.ask(path, "read", body, "application/octet-stream"), 403, "scope score")
    service = place.client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service, "settings", replace(service.settings, model_bytes=0))
    problem(place.ask(path, "mine", body, "application/octet-stream"), 403, "callers' models")
