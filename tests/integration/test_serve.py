"""The scoring service under a real Ray Serve: the command line's numbers to the bit, and an
answer to every bad request."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cluster.seaweed import free_ports
from tests.support.kits import K, make_kit
from tests.support.makers import Affine, near, peer
from tests.support.places import ROOT
from tests.support.serving import Client, Reply, Served, as_numbers, assert_problem, once_back, sys_path
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.serving.bodies import JSON, PARQUET, RAW
from zooaudit.serving.settings import BODY_MIB, DATA, KEYS, QUERIES, STORE
from zooaudit.serving.settings import SUSPECTS as SUSPECTS_ALLOWED
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

pytestmark = pytest.mark.serve

KEY, OTHER_KEY = "the-first-key", "the-second-key"
SUSPECTS = {"copy.safetensors": near(0, 70), "innocent.safetensors": peer(70)}


@dataclass(frozen=True)
class Place:
    """A running service and what it serves."""

    client: Client
    store: Path
    kit: Kit
    id: str
    port: int
    """Of 127.0.0.1, which the service may ask."""

    def score(self, suspect: str, body: bytes, kind: str, method: str = "twins") -> Reply:
        return self.client.ask(
            f"/kits/{self.id}/score?suspect={suspect}&method={method}", body, Content_Type=kind
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("serve")
    store, kit = folder / "store", make_kit()
    id_ = save_kit(open_store(str(store)), kit).id
    digests = ",".join(hashlib.sha256(k.encode()).hexdigest() for k in (KEY, OTHER_KEY))
    (port,) = free_ports(1)
    environment = {
        STORE: str(store),
        KEYS: digests,
        QUERIES: "1",
        BODY_MIB: "0.25",
        DATA: str(folder / "data"),
        SUSPECTS_ALLOWED: f"127.0.0.1:{port}",
        "PYTHONPATH": os.pathsep.join(sys_path()),
    }
    served = Served(environment)
    try:
        yield Place(Client(served.wait().address, KEY), store, kit, id_, port)
    finally:
        served.stop()


def answers_of(kit: Kit, model: Affine, method: str = "twins") -> Tensor:
    """Rows ``[n, K]``, in the order of the questions."""
    asked = kit.twin_test.questions() if method == "twins" else kit.questions().flatten(0, 2)
    return TorchBlackBox(model, K).ask(asked)


def as_json(answers: Tensor) -> bytes:
    return json.dumps({"answers": answers.tolist()}).encode()


@pytest.mark.parametrize("suspect", SUSPECTS)
@pytest.mark.parametrize("method", ["twins", "paper"])
def test_a_score_is_that_of_the_command_line_to_the_bit(
    method: str,
    suspect: str,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(SUSPECTS[suspect].state_dict(), suspect)
    arguments = [
        "score",
        "--store",
        str(place.store),
        "--kit",
        place.id,
        "--suspect",
        suspect,
        "--method",
        method,
        "--json",
        "--ask-everything",
    ]
    assert main([*arguments, "--factory", "tests.support.makers:Affine"]) == 0
    stated = json.loads(capsys.readouterr().out)
    stated = stated["paper"] if method == "paper" else stated
    answers = answers_of(place.kit, SUSPECTS[suspect], method)
    for kind, body in (
        (JSON, as_json(answers)),
        (RAW, as_numbers(answers)),
        (f"{JSON}; charset=utf-8", as_json(answers)),
    ):
        reply = place.score(suspect, body, kind, method)
        assert reply.status == 200, reply.content
        found = reply.json()[method]
        assert {k: stated[k] for k in found.keys() & stated.keys()} == {
            k: found[k] for k in found.keys() & stated.keys()
        }
        assert {"p_value", "reason"} <= found.keys() & stated.keys()
        assert 0 < reply.json()["seconds"] < 30


def test_many_scores_at_once_are_those_of_each_alone(place: Place) -> None:
    """They are computed together, as they come."""
    suspects = {f"s{i}": peer(i) for i in range(24)}
    answers = {name: answers_of(place.kit, model, "paper") for name, model in suspects.items()}
    with ThreadPoolExecutor(12) as pool:
        replies = list(
            pool.map(lambda item: place.score(item[0], as_numbers(item[1]), RAW, "paper"), answers.items())
        )
    for (name, given), reply in zip(answers.items(), replies, strict=True):
        scores, verdict = place.kit.score_answers(name, place.kit.shaped(given))
        assert reply.status == 200 and reply.json()["paper"]["p_value"] == verdict.p_value
        assert reply.json()["paper"]["similarities"] == scores.tolist()


def test_whoever_has_only_the_service_can_ask_and_be_judged(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the program that docs/serve.md gives."""
    reply = place.client.ask(f"/kits/{place.id}/queries")
    assert (reply.status, reply.headers["Content-Type"]) == (200, PARQUET)
    (tmp_path / "queries.parquet").write_bytes(reply.content)
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
    (program,) = (p for p in programs if "my_suspect" in p)
    exec(
        program,
        {"my_suspect": lambda images: TorchBlackBox(near(0, 70), K).ask(torch.from_numpy(images)).numpy()},
    )
    reply = place.score("theirs", (tmp_path / "answers.f32").read_bytes(), RAW)
    assert reply.status == 200, reply.content
    assert reply.json()["twins"]["decision"] == "stolen"


def test_a_body_that_does_not_say_its_length_is_cut_off(place: Place) -> None:
    request = f"/kits/{place.id}/score?suspect=s"
    while True:
        parts = (b" " * 65536 for _ in range(6))  # urllib sends it in chunks
        try:
            reply = place.client.ask(request, parts, Content_Type=JSON)
            break
        except URLError as error:  # it was cut off before urllib had sent all: no answer was read
            assert isinstance(error.reason, ConnectionError), error
    assert_problem(reply, 413, "too large")


def test_only_keys_open_it_and_only_health_is_open(place: Place) -> None:
    nobody = Client(place.client.address)
    for path in ("/kits", f"/kits/{place.id}", f"/kits/{place.id}/queries", "/kits/0"):
        reply = nobody.ask(path)
        assert_problem(reply, 401, "Authorization: Bearer KEY")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        for wrong in (
            "Bearer wrong",
            "Bearer ",
            "Bearer",
            f"Basic {KEY}",
            KEY,
            f"Bearer {hashlib.sha256(KEY.encode()).hexdigest()}",
        ):
            assert_problem(nobody.ask(path, Authorization=wrong), 401)
    score = f"/kits/{place.id}/score?suspect=s"
    assert_problem(nobody.ask(score, b" " * 300_000, Content_Type="text/plain"), 401)
    assert Client(place.client.address, OTHER_KEY).ask("/kits").status == 200
    assert nobody.ask("/kits", Authorization=f"bearer {KEY}").status == 200
    for path in ("/health", "/ready", "/openapi.json", "/-/healthz"):
        assert nobody.ask(path).status == 200, path


def test_an_audit_runs_in_the_auditors_replica(place: Place) -> None:
    with serving(Stranger(near(0, 70), ("0", "1", "2", "3"))) as stranger:
        asked = json.dumps(
            {"kit": place.id, "suspect": {"url": stranger.url + "/v2/models/m/infer"}}
        ).encode()
        refused = place.client.ask("/audits", asked, Content_Type=JSON)
        assert_problem(refused, 422, "may not ask the host")
    with serving(Stranger(near(0, 70), ("0", "1", "2", "3")), place.port):
        reply = place.client.ask(
            "/audits",
            json.dumps(
                {"kit": place.id, "suspect": {"url": f"http://127.0.0.1:{place.port}/v2/models/m/infer"}}
            ).encode(),
            Content_Type=JSON,
        )
        assert reply.status == 202, reply.content
        for _ in range(300):
            data = place.client.ask(reply.headers["Location"]).json()
            if data["state"] not in ("queued", "running"):
                break
            time.sleep(0.1)
    assert data["state"] == "done" and data["result"]["decision"] == "stolen", data


def test_a_score_is_kept_by_the_auditors_replica(place: Place) -> None:
    answers = answers_of(place.kit, next(iter(SUSPECTS.values())), "twins")
    data = place.score("kept", as_numbers(answers), RAW, "twins").json()
    assert (
        data["id"]
        and place.client.ask(f"/verdicts/{data['id']}").json()["score"]["answers_sha256"]
        == data["answers_sha256"]
    )
    assert data["id"] in [
        v["id"] for v in place.client.ask("/verdicts?kind=score&text=kept").json()["verdicts"]
    ]


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
        assert place.score("s", as_json(answers_of(place.kit, peer(70))), JSON).status == 200, (
            "a kit in memory needs no store"
        )
    finally:
        away.rename(place.store)
    assert once_back(place.client, "/ready").json() == {"status": "ready"}


def test_without_keys_it_does_not_start(tmp_path: Path) -> None:
    """What `serve run` says is that of the application, which reads its settings before anything listens."""
    served = Served(
        {STORE: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys_path())},
        "zooaudit.serving.deployments:application",
    )
    try:
        code, said = served.ended()
    finally:
        served.stop()
    assert code != 0
    assert f"(or {KEYS}) and ZOOAUDIT_SERVE_OPEN=1: found neither" in said
