"""A stranger's prediction server, as he would write it with Flask: four protocols, and the
faults that such servers have."""

import base64
import hashlib
import io
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flask import Flask, Response, jsonify, request
from PIL import Image
from torch import Tensor, nn
from werkzeug.serving import make_server


@dataclass
class Stranger:
    """A model behind HTTP.

    Attributes:
        names: what it calls its classes.
        order: its columns: the kit's class in each.
        flaky: share of requests that are turned away with 503.
        lost: share of requests that are answered, but whose answer never arrives (500).
        limit: images a second; more are turned away with 429 and Retry-After.
        slow_s: takes so long for a request.
        key: bearer key that it asks for.
    """

    model: nn.Module
    names: tuple[str, ...]
    order: tuple[int, ...] = ()
    flaky: float = 0.0
    lost: float = 0.0
    limit: float = 0.0
    slow_s: float = 0.0
    key: str = ""
    inputs: list[int] = field(default_factory=lambda: [-1, 1, 4, 4])
    top: int = 0
    garbled_after: int | None = None
    """From so many images on, its answers cannot be read."""
    answered: Counter[str] = field(default_factory=Counter)
    """How often each image was answered with success."""
    computed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    hosts: set[str] = field(default_factory=set)
    """By what names it was asked."""
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seconds: Counter[int] = field(default_factory=Counter)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> np.ndarray:
        given = self.model(images).softmax(1).numpy()
        return given[:, list(self.order)] if self.order else given

    def app(self) -> Flask:
        app = Flask("stranger")

        @app.before_request
        def doors() -> Response | None:
            self.hosts.add(request.headers["Host"])
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                return Response("who are you?", 401)
            return None

        @app.get("/v2/models/m")
        def about() -> Response:
            return jsonify(name="m", inputs=[{"name": "pixels", "datatype": "FP32", "shape": self.inputs}])

        @app.post("/v2/models/m/infer")
        def v2() -> Response:
            (given,) = request.get_json()["inputs"]
            assert given["name"] == "pixels" and given["datatype"] == "FP32"
            images = torch.tensor(given["data"]).view(given["shape"])
            return self.reply(
                images,
                lambda p: {
                    "outputs": [
                        {"name": "p", "shape": list(p.shape), "datatype": "FP32", "data": p.ravel().tolist()}
                    ]
                },
            )

        @app.post("/v1/models/m:predict")
        def tensorflow() -> Response:
            images = torch.tensor(request.get_json()["instances"]).permute(0, 3, 1, 2)
            return self.reply(images, lambda p: {"predictions": p.tolist()})

        @app.post("/predictions/m")
        def torchserve() -> Response:
            return self.reply(read_png(request.get_data()), lambda p: self.named(p[0]))

        @app.post("/classify")
        def own() -> Response:
            images = torch.cat(
                [read_png(base64.b64decode(one)) for one in request.get_json()["payload"]["pictures"]]
            )
            return self.reply(
                images,
                lambda p: {
                    "results": [
                        {"scores": [{"label": n, "score": s} for n, s in self.named(q).items()]} for q in p
                    ]
                },
            )

        @app.post("/label")
        def label() -> Response:
            images = torch.cat(
                [read_png(base64.b64decode(one)) for one in request.get_json()["payload"]["pictures"]]
            )
            return self.reply(images, lambda p: {"results": [self.names[i] for i in p.argmax(1)]})

        return app

    def named(self, row: np.ndarray) -> dict[str, float]:
        best = row.argsort()[::-1][: self.top or len(row)]
        return {self.names[i]: float(row[i]) for i in best}

    def reply(self, images: Tensor, shape: Any) -> Response:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            chance, unlucky = self.dice.random(), self.dice.random()
            self._seconds[int(time.monotonic())] += len(images)
            busy = bool(self.limit) and self._seconds[int(time.monotonic())] > self.limit
        try:
            if busy:
                return Response("slowly", 429, {"Retry-After": "1"})
            if chance < self.flaky:
                return Response("not now", 503)
            time.sleep(self.slow_s)
            result = shape(self.probabilities(images))
            with self._lock:
                self.computed += len(images)
                if unlucky < self.lost:
                    return Response("oops", 500)
                if self.garbled_after is not None and self.computed > self.garbled_after:
                    return Response("not what you asked for", 200)
                self.answered.update(hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images)
            return jsonify(result)
        finally:
            with self._lock:
                self.at_once -= 1


def read_png(content: bytes) -> Tensor:
    pixels = np.array(Image.open(io.BytesIO(content)))
    return torch.from_numpy(pixels).float().div(255)[None, None]


@contextmanager
def serving(stranger: Stranger, port: int = 0) -> Iterator[Stranger]:
    """On a port of 127.0.0.1, any that is free unless it is given."""
    server = make_server("127.0.0.1", port, stranger.app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stranger.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stranger
    finally:
        server.shutdown()
        thread.join()
