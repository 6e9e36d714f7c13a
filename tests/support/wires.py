"""Suspects of every protocol that the documentation describes."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import flask
import httpx
import pytest
import torch
from PIL import Image

from tests.support.asking import CLASSES, MODEL, K
from tests.support.scripted import Asked
from tests.support.strangers import Stranger, read_png, serving
from tests.support.tritons import Triton
from zooaudit.suspects import http_transport, opening

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
