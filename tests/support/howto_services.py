"""Other people's models behind services, as the readers of the how-to pages ask them: a Triton, a v2 server
with a description, a service of its own."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from werkzeug.serving import make_server

from tests.support.howto import Town, block
from tests.support.howto_owners import NAMES, SIDE
from tests.support.howto_suspects import BACKGROUND, Columns, theirs
from tests.support.strangers import read_png
from tests.support.tritons import TYPES, Triton, over_http


class Served(Triton):
    """A Triton of images of any size and layout."""

    def read(self, shape: list[int], values: Any) -> Tensor:
        flat = np.frombuffer(values, TYPES[self.datatype]) if isinstance(values, bytes) else np.array(values)
        given = torch.from_numpy(flat.reshape(shape).astype(np.float64)).float() / self.divide + self.shift
        return given.permute(0, 3, 1, 2) if shape[-1] in (1, 3) else given


@contextmanager
def triton(town: Town, stolen: bool) -> Any:
    """Bytes, channels last, eight images at once."""
    serving = Served(
        theirs(town, stolen), "UINT8", [-1, SIDE, SIDE, 1], 255.0, most=8, outputs=[("p", "FP32", [-1, 10])]
    )
    with over_http(serving) as url:
        yield {"https://models.example/v2/models/shirts/infer": url}
    assert serving.batches and max(serving.batches) <= 8


@contextmanager
def described(
    town: Town, stolen: bool, model: nn.Module | None = None, shape: tuple[int, ...] = (1, SIDE, SIDE)
) -> Any:
    """``theirs.toml`` of a v2 server."""
    serving = Served(
        model or theirs(town, stolen), shape=[-1, *shape], most=16, outputs=[("p", "FP32", [-1, 10])]
    )
    if model is not None and isinstance(model, Columns):
        serving.outputs = [("p", "FP32", [-1, len(model.order)])]
    with over_http(serving) as url:
        (town.folder / "theirs.toml").write_text(
            block("docs/apis.md", 'url = "https://models.example/v2/models/shirts/infer"').replace(
                "https://models.example/v2/models/shirts/infer", url
            )
        )
        yield {}


class Normalised(nn.Module):
    """It takes colours of 20 x 20, by the usual mean and standard deviation."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        result: Tensor = self.inner(
            nn.functional.interpolate((images * std + mean).mean(1, keepdim=True), (SIDE, SIDE), mode="area")
        )
        return result


@contextmanager
def normalised(town: Town, stolen: bool) -> Any:
    with described(town, stolen, Normalised(theirs(town, stolen)), (3, 2 * SIDE, 2 * SIDE)):
        yield {"input.size=224": f"input.size={2 * SIDE}"}


@contextmanager
def with_background(town: Town, stolen: bool) -> Any:
    with described(town, stolen, Columns(theirs(town, stolen), BACKGROUND, logits=True)):
        yield {'"bag","ankle boot","coat","dress"': ",".join(f'"{name}"' for name in NAMES)}


@contextmanager
def of_the_page(town: Town, stolen: bool) -> Any:
    """The description of docs/score.md as it stands, but for address, names and pace; the
    service that it describes."""
    model, app = theirs(town, stolen), flask.Flask("theirs")

    @app.post("/classify")
    def classify() -> Any:
        assert flask.request.headers["Authorization"] == "Bearer a-key"
        images = torch.cat([read_png(base64.b64decode(one)) for one in flask.request.get_json()["images"]])
        rows = model(images).softmax(1).tolist()
        return {
            "results": [
                {"scores": {f"digit {n}": p for n, p in zip(NAMES, row, strict=True)}} for row in rows
            ]
        }

    with listening(app) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEIR_KEY", "a-key")
        text = (
            block("docs/score.md", 'url = "https://api.example/classify"')
            .replace("https://api.example", url)
            .replace("rate = 20 ", "rate = 0 ")
        )
        names = ", ".join(f'"digit {n}"' for n in NAMES)
        (town.folder / "theirs.toml").write_text(text.replace('"tops", "trousers", "..."', names))
        yield {}


@contextmanager
def listening(app: flask.Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
