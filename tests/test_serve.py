"""The scoring service under a real Ray Serve: the command line's numbers to the bit, and an answer to every bad request."""

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from safetensors.torch import save_file
from torch import Tensor

from cluster.seaweed import Seaweed, free_ports
from tests.makers import Affine
from tests.manifests import ROOT
from tests.serving import Client, Reply, Served
from tests.test_kit import K, make_kit
from zooaudit.cli import main
from zooaudit.fingerprint.answers import ask
from zooaudit.kit import Kit, save_kit
from zooaudit.serving import kits
from zooaudit.serving.bodies import JSON, PARQUET, RAW
from zooaudit.serving.http import make_app
from zooaudit.serving.settings import BODY_MIB, KEYS, QUERIES, STORE, Settings
from zooaudit.storage.artifacts import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

pytestmark = pytest.mark.serve

KEY, OTHER_KEY = "the-first-key", "the-second-key"
SUSPECTS = {"itself.safetensors": 0, "innocent.safetensors": 3}
"""Seeds of the suspects; the victim's is 0."""


@dataclass(frozen=True)
class Place:
    """A running service and what it serves."""

    client: Client
    store: Path
    kit: Kit
    id: str

    def score(self, suspect: str, body: bytes, kind: str, **headers: str) -> Reply:
        return self.client.ask(f"/kits/{self.id}/score?suspect={suspect}", body, Content_Type=kind, **headers)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("serve")
    store, kit = folder / "store", make_kit()
    id_ = save_kit(open_store(str(store)), kit).id
    digests = ",".join(hashlib.sha256(k.encode()).hexdigest() for k in (KEY, OTHER_KEY))
    environment = {STORE: str(store), KEYS: digests, QUERIES: "1", BODY_MIB: "0.25", "PYTHONPATH": os.pathsep.join(sys_path())}
    served = Served(environment)
    try:
        yield Place(Client(served.wait().address, KEY), store, kit, id_)
    finally:
        served.stop()


def sys_path() -> list[str]:
    """Where this zooaudit is, for processes that start elsewhere."""
    import zooaudit

    return [str(Path(zooaudit.__file__).parent.parent)]


def answers_of(kit: Kit, seed: int) -> Tensor:
    return ask(TorchBlackBox(Affine(seed=seed), K), kit.questions())


def as_json(answers: Tensor) -> bytes:
    return json.dumps({"answers": answers.tolist()}).encode()


def as_numbers(answers: Tensor) -> bytes:
    return answers.numpy().astype("<f4").tobytes()


@pytest.mark.parametrize("suspect", SUSPECTS)
def test_a_score_is_that_of_the_command_line_to_the_bit(
    suspect: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(Affine(seed=SUSPECTS[suspect]).state_dict(), suspect)
    arguments = ["score", "--store", str(place.store), "--kit", place.id, "--suspect", suspect, "--method", "paper", "--json"]
    assert main([*arguments, "--factory", "tests.makers:Affine"]) == 0
    stated = json.loads(capsys.readouterr().out)["paper"]
    answers = answers_of(place.kit, SUSPECTS[suspect])
    for kind, body in ((JSON, as_json(answers)), (RAW, as_numbers(answers)), (f"{JSON}; charset=utf-8", as_json(answers))):
        reply = place.score(suspect, body, kind)
        assert reply.status == 200, reply.content
        found = reply.json()
        assert {k: found[k] for k in stated if k != "queries"} == {k: v for k, v in stated.items() if k != "queries"}
        assert found["similarities"] == place.kit.similarities(answers).tolist()
        assert (found["kit"], found["digest"]) == (place.id, open_store(str(place.store)).load("kit", place.id).digest)
        assert 0 < found["seconds"] < 30
    assert (stated["similarity"] == pytest.approx(1, abs=1e-5)) == (SUSPECTS[suspect] == 0)


def test_kits_are_listed_and_described(place: Place) -> None:
    (summary,) = place.client.ask("/kits").json()["kits"]
    detail = place.client.ask(f"/kits/{place.id}").json()
    assert summary.items() <= detail.items()
    assert (summary["id"], summary["victim"], summary["encoder"]) == (place.id, place.kit.victim, place.kit.encoder_config.name)
    assert [detail[k] for k in ("views", "points", "num_classes", "queries", "references")] == [6, 5, 4, 60, 3]
    assert detail["image_shape"] == [1, 4, 4] and "look-alikes" in detail["caution"]


def test_whoever_has_only_the_service_can_ask_and_be_judged(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the program that the README gives."""
    reply = place.client.ask(f"/kits/{place.id}/queries")
    assert (reply.status, reply.headers["Content-Type"]) == (200, PARQUET)
    (tmp_path / "queries.parquet").write_bytes(reply.content)
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(program, {"my_suspect": lambda images: TorchBlackBox(Affine(seed=0), K).ask(torch.from_numpy(images)).numpy()})
    reply = place.score("theirs", (tmp_path / "answers.f32").read_bytes(), RAW)
    assert reply.status == 200, reply.content
    assert reply.json()["similarities"] == place.kit.similarities(answers_of(place.kit, 0)).tolist()


def assert_problem(reply: Reply, status: int, *says: str) -> dict[str, Any]:
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json"), reply.content
    body: dict[str, Any] = reply.json()
    assert body.keys() == {"type", "title", "status", "detail", "found", "expected"}
    assert body["status"] == status
    assert all(word in json.dumps(body, ensure_ascii=False) for word in says), body
    return body


def with_value(value: float) -> Tensor:
    answers = make_kit().victim_answers.clone()
    answers[1, 2, 0, 3] = value
    return answers


GOOD = make_kit().victim_answers
BAD_ANSWERS = {
    "too few views": (GOOD[1:], ()),
    "too few datapoints": (GOOD[:, 1:], ()),
    "too few classes": (GOOD[..., 1:].contiguous(), ()),
    "NaN": (with_value(float("nan")), ("NaN or infinite values in 1 of 60 rows", "finite")),
    "negative": (with_value(-0.5), ("negative values in 1 of 60 rows", "softmax")),
    "sum is not 1": (with_value(7.0), ("do not sum to 1 in 1 of 60 rows", "within 0.001 of 1")),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_a_422_with_what_was_found_and_expected(name: str, place: Place) -> None:
    answers, says = BAD_ANSWERS[name]
    for body, kind in ((as_json(answers), JSON), (as_numbers(answers), RAW)):
        problem = assert_problem(place.score("s", body, kind), 422, *says)
        assert problem["found"] and problem["expected"]


def test_bad_requests_each_have_a_status_of_their_own(place: Place) -> None:
    good, unknown = as_json(GOOD), "0" * 16
    assert_problem(place.client.ask(f"/kits/{unknown}"), 404, "no such kit", "GET /kits")
    assert_problem(place.client.ask(f"/kits/{unknown}/score?suspect=s", good, Content_Type=JSON), 404, "no such kit")
    assert_problem(place.client.ask("/kits/..%2f..%2fmodel"), 404)
    assert_problem(place.client.ask("/elsewhere"), 404, "Not Found")
    assert_problem(place.client.ask("/kits", b"{}", Content_Type=JSON), 405)
    assert_problem(place.client.ask(f"/kits/{place.id}/score", good, Content_Type=JSON), 422, "suspect", "required")
    assert_problem(place.score("s" * 501, good, JSON), 422, "500 characters")
    assert_problem(place.score("s", b"{", JSON), 400, "not JSON")
    assert_problem(place.score("s", good, RAW), 422, "960: little-endian float32")
    assert_problem(place.score(place.kit.reference_ids[0], good, JSON), 422, "one of the kit's references")
    assert_problem(place.score("s", b'{"answers": "all"}', JSON), 422, "lists of numbers")
    assert_problem(place.score("s", good, "application/x-python-pickle"), 415, "application/x-python-pickle", JSON, RAW)
    assert_problem(place.score("s", good, PARQUET), 415, PARQUET)
    assert_problem(place.score("s", b" " * 300_000, JSON), 413, "more than 80,896 bytes")


def test_a_body_that_does_not_say_its_length_is_cut_off(place: Place) -> None:
    parts = (b" " * 65536 for _ in range(6))  # urllib sends it in chunks
    request = f"/kits/{place.id}/score?suspect=s"
    assert_problem(place.client.ask(request, parts, Content_Type=JSON), 413, "too large")  # type: ignore[arg-type]


def test_only_keys_open_it_and_only_health_is_open(place: Place) -> None:
    nobody = Client(place.client.address)
    for path in ("/kits", f"/kits/{place.id}", f"/kits/{place.id}/queries", "/kits/0"):
        reply = nobody.ask(path)
        assert_problem(reply, 401, "Authorization: Bearer KEY")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", "Bearer ", "Bearer", f"Basic {KEY}", KEY, f"Bearer {hashlib.sha256(KEY.encode()).hexdigest()}"):
            assert_problem(nobody.ask(path, Authorization=wrong), 401)
    score = f"/kits/{place.id}/score?suspect=s"
    assert_problem(nobody.ask(score, b" " * 300_000, Content_Type="text/plain"), 401)
    assert Client(place.client.address, OTHER_KEY).ask("/kits").status == 200
    assert nobody.ask("/kits", Authorization=f"bearer {KEY}").status == 200
    for path in ("/health", "/ready", "/openapi.json", "/-/healthz"):
        assert nobody.ask(path).status == 200, path
    for path in ("/docs", "/redoc"):
        assert_problem(nobody.ask(path), 404)


def test_a_store_that_goes_away_is_a_503_until_it_is_back(place: Place) -> None:
    assert place.client.ask(f"/kits/{place.id}").status == 200
    away = place.store.with_name("away")
    place.store.rename(away)
    try:
        for path in ("/ready", "/kits", f"/kits/{'0' * 16}"):
            reply = place.client.ask(path)
            problem = assert_problem(reply, 503, "try again later")
            assert int(reply.headers["Retry-After"]) > 0
            assert str(place.store) not in json.dumps(problem), "callers need not know where the store is"
        assert place.client.ask("/health").status == 200
        assert place.score("s", as_json(GOOD), JSON).status == 200, "a kit in memory needs no store"
    finally:
        away.rename(place.store)
    assert place.client.ask("/ready").json() == {"status": "ready"}


@pytest.mark.s3
@pytest.mark.chaos
def test_a_bucket_that_is_down_is_a_503_until_it_is_back(own_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same application without Ray; it starts though the store does not answer."""
    monkeypatch.setattr(kits, "DEADLINE_S", 0.5)
    id_ = save_kit(open_store("s3://zoo/x"), make_kit()).id
    own_server.kill()
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(make_app(Settings("s3://zoo/x", ())), host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        client = Client(f"http://127.0.0.1:{port}")
        while not server.started:
            time.sleep(0.05)
        assert client.ask("/health").status == 200
        for _ in range(2):
            reply = client.ask("/ready")
            assert_problem(reply, 503, "the store does not answer")
            assert "zoo/x" not in reply.content.decode()
        own_server.start()
        assert client.ask(f"/kits/{id_}").json()["id"] == id_
        own_server.kill()
        assert_problem(client.ask("/kits"), 503)
        assert client.ask(f"/kits/{id_}").status == 200
        assert_problem(client.ask(f"/kits/{id_}/queries"), 403, QUERIES)
    finally:
        server.should_exit = True
        thread.join(30)


def test_openapi_names_every_route_and_both_bodies(place: Place) -> None:
    api = place.client.ask("/openapi.json").json()
    routes = {(path.replace("{id_}", "{id}"), method) for path, methods in api["paths"].items() for method in methods}
    assert routes == {
        ("/health", "get"), ("/ready", "get"), ("/kits", "get"), ("/kits/{id}", "get"),
        ("/kits/{id}/queries", "get"), ("/kits/{id}/score", "post"),
    }  # fmt: skip
    score = api["paths"]["/kits/{id_}/score"]["post"]
    assert score["requestBody"]["content"].keys() == {JSON, RAW}
    assert score["responses"].keys() == {"200", "4XX", "5XX"}
    assert score["responses"]["4XX"]["content"].keys() == {"application/problem+json"}


def test_without_keys_it_does_not_start(tmp_path: Path) -> None:
    """What `serve run` says is that of the application, which reads its settings before anything listens."""
    served = Served({STORE: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys_path())}, "zooaudit.serving.app:application")
    try:
        code, said = served.ended()
    finally:
        served.stop()
    assert code != 0
    assert f"{KEYS} and ZOOAUDIT_SERVE_OPEN=1: found neither" in said
