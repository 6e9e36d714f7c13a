"""Templates of requests and answers, in many forms."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import numpy as np
import pytest
import torch

from tests.support.asking import CLASSES, MODEL, asking, questions, truth
from tests.support.kits import make_kit
from tests.support.makers import near
from tests.support.tritons import Triton, over_grpc
from tests.support.wires import THEIRS, Services, standing
from zooaudit.cli.main import main
from zooaudit.errors import ConfigError
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.remote import remote_of
from zooaudit.suspects.signing import Signing


@dataclass
class Written(Services):
    """One service with one route."""

    told_by: Any = None

    def app(self) -> flask.Flask:
        app = flask.Flask("written")
        app.add_url_rule("/ask", view_func=lambda: flask.jsonify(self.told_by()), methods=["POST"])
        return app


ONE = [0.7, 0.1, 0.1, 0.1]
FORMS: dict[str, tuple[dict[str, Any], Any, int]] = {
    "a data URL": (
        {"inputs": "data:image/png;base64,$png", "n": 1},
        lambda b: b["inputs"].startswith("data:image/png;base64,iVBOR"),
        4,
    ),
    "one by one": ({"inputs": ["$image"]}, lambda b: np.array(b["inputs"]).shape == (1, 1, 4, 4), 4),
    "objects": (
        {"inputs": {"$each": {"a": ["$image"]}}},
        lambda b: np.array([i["a"] for i in b["inputs"]]).shape == (4, 1, 1, 4, 4),
        1,
    ),
    "data URLs": (
        {"inputs": {"$each": {"url": "data:image/jpeg;base64,$jpeg"}}},
        lambda b: "base64,/9j/" in b["inputs"][3]["url"],
        1,
    ),
    "JPEGs": (
        {"inputs": "$jpegs"},
        lambda b: all(base64.b64decode(i)[:2] == b"\xff\xd8" for i in b["inputs"]),
        1,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_templates_in_many_forms(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, right, requests = FORMS[form]
    bodies: list[Any] = []

    def told() -> Any:
        bodies.append(flask.request.json)
        return {"predictions": ONE if requests == 4 else [ONE] * len(bodies[-1]["inputs"])}

    settings = {"url": "https://forms.example/ask", "protocol": "template", "request": request, "batch": 4}
    with standing(Written(MODEL, THEIRS, told_by=told), monkeypatch), asking(tmp_path, settings) as asked:
        assert torch.allclose(asked.black_box.ask(questions(4)), torch.tensor([ONE] * 4))
    assert len(bodies) == requests and all(right(b) for b in bodies)


def test_a_batch_of_numbers_as_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> Any:
        assert flask.request.content_type == "application/x-npy"
        return written.told(
            torch.from_numpy(np.load(io.BytesIO(flask.request.get_data()), allow_pickle=False))
        )

    settings = {"url": "https://npy.example/ask", "protocol": "raw", "media": "application/x-npy"}
    written = Written(MODEL, THEIRS, told_by=told)
    with standing(written, monkeypatch), asking(tmp_path, settings) as asked:
        assert torch.allclose(
            asked.black_box.ask(questions()), truth(questions()), atol=1e-6
        ) and written.count == [24]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"protocol": "raw", "media": "image/gif"}, "media is 'image/gif'; expected image/png"),
        ({"protocol": "form", "media": "application/x-npy"}, "media is 'application/x-npy'"),
        ({"protocol": "form", "form": {'a"b': "x"}}, "names without quotes"),
        ({"protocol": "form", "form": {"a": "x\r\ny"}}, "printable texts"),
        ({"protocol": "form", "form_file": ""}, "names without quotes"),
        ({"protocol": "form", "form_many": "yes"}, "form_many is 'yes'; expected true or false"),
        ({"protocol": "raw", "offset": float("nan")}, "offset is nan; expected a number"),
        ({"protocol": "v2", "datatype": "FLOAT"}, "datatype is 'FLOAT'; expected one of UINT8"),
        ({"protocol": "v2", "tensors": "text"}, "tensors is 'text'; expected json or binary"),
        ({"protocol": "raw", "largest_request": 10}, "largest_request is 10"),
        ({"protocol": "raw", "largest_request": True}, "largest_request is 'True'; expected a whole number"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        remote_of({"url": "https://a.example/ask"} | settings, CLASSES)


@pytest.mark.parametrize("log", ["plain", "events"])
def test_a_command_asks_over_grpc_and_tells_what_it_found(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    id_ = save_kit(open_store("store"), make_kit()).id
    with over_grpc(Triton(near(0, 70), most=9)) as url:
        asked = [
            "--suspect",
            url,
            "--ledger",
            "ledger",
            "--json",
            *(["--log", "events"] if log == "events" else []),
        ]
        assert main(["score", "--store", "store", "--kit", id_, *asked]) == 0
    text = capsys.readouterr()
    assert json.loads(text.out)["decision"] == "stolen"
    assert "a request has 9 images at most" in text.err and ("event=suspect" in text.err) == (log == "events")


def test_signing_is_for_the_command_line_alone() -> None:
    """The service's list of what it does not take is made from these: a new one is refused
    there by itself."""
    from zooaudit.serving.audit_requests import MOST, NOT_OURS

    assert set(NOT_OURS) == {"ca"} | set(Signing.__dataclass_fields__)
    assert sorted(MOST) == ["batch", "concurrency", "largest_request", "patience_s", "timeout_s"]
