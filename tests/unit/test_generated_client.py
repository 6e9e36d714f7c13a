"""A client that openapi-python-client makes of ``/openapi.json`` does what docs/serve.md
does, against a service on a port."""

import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.support.kits import K
from tests.support.places import ROOT
from tests.support.service import COPY, Place
from tests.support.serving import listening
from tests.support.strangers import Stranger
from zooaudit.suspects.blackbox import TorchBlackBox

NAME = "generated_zooaudit"
CONFIG = re.search(
    r"```yaml\n(content_type_overrides:\n.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL
)


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:
    with listening(place.client.app) as url:
        yield url


@pytest.fixture(scope="module")
def generated(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports a module of the client."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(place.ask("/openapi.json", "").text)
    assert CONFIG
    (folder / "config.yaml").write_text(f"post_hooks: []\n{CONFIG.group(1)}")
    command = [
        sys.executable,
        "-m",
        "openapi_python_client",
        "generate",
        "--path",
        "openapi.json",
        "--config",
        "config.yaml",
    ]
    done = subprocess.run(
        [*command, "--meta", "none", "--output-path", NAME],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "WARNING" not in done.stdout + done.stderr, done.stdout
    sys.path.insert(0, str(folder))

    def module(name: str = "") -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}" if name else NAME)

    yield module
    sys.path.remove(str(folder))
    for name in [n for n in sys.modules if n.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def client(generated: Any, address: str, place: Place) -> Any:
    return generated().AuthenticatedClient(
        base_url=address, token=place.keys["all"], raise_on_unexpected_status=True
    )


def test_it_does_what_the_page_does(
    generated: Any, client: Any, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generated("api.service.ready").sync(client=client).status.value == "ready"
    (kit,) = generated("api.kits.kits").sync(client=client).kits
    assert (
        kit.id == place.id
        and generated("api.kits.kit").sync(kit.id, client=client).classes[0] == "ankle boot"
    )
    Path("queries.parquet").write_bytes(
        generated("api.kits.queries").sync(kit.id, client=client).payload.read()
    )
    (program,) = (
        p
        for p in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
        if "my_suspect" in p
    )
    exec(program, {"my_suspect": lambda images: TorchBlackBox(COPY, K).ask(torch.from_numpy(images)).numpy()})
    body = generated("types").File(payload=BytesIO(Path("answers.f32").read_bytes()))
    score = generated("api.scores.score").sync(kit.id, client=client, body=body, suspect="theirs")
    assert (score.twins.decision.value, score.twins.level, score.suspect) == (
        "stolen",
        place.kit.twin_test.level,
        "theirs",
    )


def test_it_has_a_suspect_asked(generated: Any, client: Any, place: Place, stranger: Stranger) -> None:
    models, submit = generated("models"), generated("api.audits.submit")
    for suspect in (
        models.AddressSuspect(url=stranger.url + "/v2/models/m/infer", batch=10),
        models.V2Suspect(url=stranger.url + "/v2/models/m/infer", protocol="v2", batch=11),
    ):
        asked = models.AuditRequest(kit=place.id, suspect=suspect)
        assert set(asked.to_dict()["suspect"]) <= {"url", "batch", "protocol"}, "nothing that was not said"
        made, again = (
            submit.sync(client=client, body=asked, idempotency_key=f"once-{suspect.batch}") for _ in range(2)
        )
        assert made.id == again.id
        end = time.monotonic() + 30
        while (found := generated("api.audits.audit").sync(made.id, client=client)).state.value in (
            "queued",
            "running",
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert (found.state.value, found.result.decision.value, found.level) == (
            "done",
            "stolen",
            place.kit.twin_test.level,
        )
    assert made.id in [a.id for a in generated("api.audits.audits").sync(client=client, limit=1000).audits]


def test_what_is_refused_is_a_problem_with_its_parts(generated: Any, client: Any, place: Place) -> None:
    models = generated("models")
    asked = models.AuditRequest(
        kit=place.id, suspect=models.AddressSuspect(url="http://elsewhere.example/infer")
    )
    refused = generated("api.audits.submit").sync(client=client, body=asked)
    assert (
        isinstance(refused, models.Problem)
        and refused.status == 422
        and "may not ask the host" in refused.detail
    )
    missing = generated("api.kits.kit").sync("0" * 16, client=client)
    assert isinstance(missing, models.Problem) and missing.status == 404


def test_the_description_is_json_that_a_generator_reads_from_a_file(place: Place) -> None:
    assert json.loads(place.ask("/openapi.json", "").text)["openapi"].startswith("3.1")
