"""Every description in docs/apis.md, asked of a real server of its kind as it stands; and an audit that is
killed goes on with each."""

import base64
import io
import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flask
import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.asking import CLASSES, MODEL, K, asking, questions, truth
from tests.support.kits import make_kit
from tests.support.makers import near
from tests.support.places import ROOT
from tests.support.scripted import Asked
from tests.support.strangers import Stranger, read_png, serving
from tests.support.tritons import Triton, over_grpc
from zooaudit.cli.main import main
from zooaudit.errors import ConfigError
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects import http_transport, opening
from zooaudit.suspects.remote import Remote, read_remote, remote_of
from zooaudit.suspects.signing import Signing

PAGE = (ROOT / "docs" / "apis.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = {tomllib.loads(block)["url"]: block for block in BLOCKS}
THEIRS = ("boots", "bags", "coats", "dresses")


@dataclass
class Services(Stranger):
    """All the services of the page at once, as their owners would write them."""

    count: list[int] = field(default_factory=list)

    def told(self, images: torch.Tensor) -> list[list[float]]:
        self.count.append(len(images))
        with torch.no_grad():
            return self.model(images).softmax(1).tolist()

    def scores(
        self, images: torch.Tensor, label: str = "label", score: str = "score"
    ) -> list[dict[str, Any]]:
        (row,) = self.told(images)
        return sorted(
            ({label: n, score: s} for n, s in zip(THEIRS, row, strict=True)), key=lambda one: -one[score]
        )

    def app(self) -> flask.Flask:
        app = flask.Flask("services")
        tritons = {
            "shirts": Triton(MODEL),
            "shirts-int8": Triton(
                MODEL,
                datatype="INT8",
                divide=255.0,
                shift=128 / 255,
                outputs=[("probabilities", "FP32", [-1, K]), ("other", "FP32", [-1, K])],
            ),
        }

        @app.route("/v2/models/<name>", methods=["GET"])
        @app.route("/v2/models/<name>/infer", methods=["POST"])
        def v2(name: str) -> Any:
            asked = flask.request
            path = asked.path.replace(f"/{name}", "/m")
            status, headers, body = tritons[name].script(
                Asked(asked.method, path, asked.headers, asked.get_data())
            )
            self.count.append(1)
            return body, status, dict(headers)

        @app.post("/v1/models/shirts:predict")
        def tensorflow() -> Any:
            return {
                "predictions": self.told(torch.tensor(flask.request.json["instances"]).permute(0, 3, 1, 2))
            }

        @app.post("/v1/models/files:predict")
        def files() -> Any:
            found = [
                read_png(base64.b64decode(one["image_bytes"]["b64"]))
                for one in flask.request.json["instances"]
            ]
            return {"predictions": [{"scores": row} for row in self.told(torch.cat(found))]}

        @app.post("/v1/models/guarded:predict")
        def guarded() -> Any:
            return (
                tensorflow()
                if flask.request.headers.get("Authorization") == "Bearer of-the-day"
                else ("", 401)
            )

        @app.post("/oauth2/token")
        def token() -> Any:
            given = flask.request.authorization
            right = given is not None and (given.username, given.password) == ("me", "secret-of-mine")
            assert flask.request.form["scope"] == "predict"
            return (
                {"access_token": "of-the-day", "token_type": "Bearer", "expires_in": 60}
                if right
                else ({"error": "invalid_client"}, 401)
            )

        @app.post("/predictions/shirts")
        def torchserve() -> Any:
            return {one["label"]: one["score"] for one in self.scores(read_png(flask.request.get_data()))}

        @app.post("/")
        def hugging_face() -> Any:
            assert (
                flask.request.headers["Authorization"] == "Bearer hf-token"
                and flask.request.content_type == "image/png"
            )
            return self.scores(read_png(flask.request.get_data()))

        @app.post("/v1/classify")
        def own() -> Any:
            assert flask.request.args["top"] == "4" and flask.request.headers["X-Project"] == "audit"
            assert Image.open(flask.request.stream).format == "JPEG"
            return {
                "result": {
                    "tags": [
                        {"tag": n, "confidence": s}
                        for n, s in zip(CLASSES, [0.7, 0.1, 0.1, 0.1], strict=True)
                    ]
                }
            }

        @app.post("/upload")
        def form() -> Any:
            assert flask.request.form["model"] == "shirts"
            sent = flask.request.files.getlist("files")
            assert {f.mimetype for f in sent} == {"image/png"}
            return {"predictions": self.told(torch.cat([read_png(f.read()) for f in sent]))}

        @app.post("/predict")
        def base64_() -> Any:
            found = [read_png(base64.b64decode(one)) for one in flask.request.json["images"]]
            return {"results": [{"probabilities": row} for row in self.told(torch.cat(found))]}

        @app.post("/classify")
        def bento() -> Any:
            return flask.jsonify(
                self.told(torch.tensor(flask.request.json["images"]).permute(0, 3, 1, 2) / 255)
            )

        @app.post("/endpoints/shirts/invocations")
        def sagemaker() -> Any:
            given = flask.request.headers["Authorization"]
            assert (
                given.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
                and "/eu-west-1/sagemaker/aws4_request" in given
            )
            return {"predictions": self.told(torch.tensor(flask.request.json["instances"]))}

        return app


class Here(httpx.HTTPTransport):
    """Every host is this one."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._to = urlsplit(url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host=self._to.hostname, port=self._to.port)
        return super().handle_request(request)


@contextmanager
def standing(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Them behind every name that there is."""
    with serving(services), monkeypatch.context() as patch:
        plain = http_transport.client_of
        for module in (http_transport, opening):
            patch.setattr(
                module,
                "client_of",
                lambda remote, transport=None: plain(remote, lambda *_: Here(services.url)),
            )
        yield services


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """All of them, and what they ask for."""
    for name, value in {
        "HF_TOKEN": "hf-token",
        "CLIENT_ID": "me",
        "CLIENT_SECRET": "secret-of-mine",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with standing(Services(MODEL, THEIRS), monkeypatch) as served:
        yield served


@contextmanager
def described(block: str, folder: Path) -> Iterator[dict[str, Any]]:
    """An example's settings; where it is of gRPC, at the address of a server."""
    settings = tomllib.loads(block)
    if not settings["url"].startswith("grpc"):
        yield settings
        return
    with over_grpc(Triton(MODEL)) as url:
        yield settings | {"url": url}


@pytest.mark.parametrize("url", EXAMPLES)
def test_every_description_on_the_page_is_asked_as_it_stands(
    url: str, services: Services, tmp_path: Path
) -> None:
    (tmp_path / "theirs.toml").write_text(EXAMPLES[url])
    assert isinstance(read_remote(tmp_path / "theirs.toml", CLASSES), Remote)
    images = questions()
    with described(EXAMPLES[url], tmp_path) as settings, asking(tmp_path, settings, budget=24) as asked:
        found = asked.black_box.ask(images)
        expected = torch.tensor([[0.7, 0.1, 0.1, 0.1]] * 24) if "jpeg" in EXAMPLES[url] else truth(images)
        assert torch.allclose(found, expected, atol=1e-5) and asked.ledger.spent == 24


@pytest.mark.parametrize("url", EXAMPLES)
def test_an_audit_that_was_cut_off_asks_nothing_again_whatever_is_spoken(
    url: str, services: Services, tmp_path: Path
) -> None:
    images = questions()
    with described(EXAMPLES[url], tmp_path) as settings:
        with asking(tmp_path, settings, budget=24) as asked:
            first = asked.black_box.ask(images[:16])
        before = len(services.count)
        with asking(tmp_path, settings, budget=24) as asked:
            assert torch.equal(asked.black_box.ask(images[:16]), first) and len(services.count) == before
            assert len(asked.black_box.ask(images)) == 24 and asked.ledger.spent == 24


def test_the_page_has_every_setting_and_every_protocol() -> None:
    table = PAGE.partition("## Every setting")[2].partition("\n## ")[0]
    rows = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    with pytest.raises(ConfigError) as error:
        remote_of({"url": "https://a/infer", "nothing of the kind": 1}, CLASSES)
    assert rows == set(str(error.value).partition("expected some of ")[2].split(", "))
    assert {tomllib.loads(b).get("sign") for b in BLOCKS} >= {"aws", "oauth"}


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
    from zooaudit.serving.auditor import MOST, NOT_OURS

    assert set(NOT_OURS) == {"ca"} | set(Signing.__dataclass_fields__)
    assert sorted(MOST) == ["batch", "concurrency", "largest_request", "patience_s", "timeout_s"]
