"""Keys in the address of a suspect travel to it, and stay out of evidence, ledgers, logs and errors."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import CLASSES, asking, questions
from tests.support.kits import make_kit
from tests.support.makers import near
from tests.support.scripted import Asked, Reply, scripted
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.errors import ConfigError, SuspectError
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.addresses import keys_of, without_keys
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import remote_of

SECRET = "s3cr3t/+hush"
WRITTEN = "s3cr3t%2F%2Bhush"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a/infer", "https://a/infer"),
        ("https://a/infer?version=2&alt=json", "https://a/infer?version=2&alt=json"),
        ("https://a/infer?api-version=2024-05-01-preview", "https://a/infer?api-version=2024-05-01-preview"),
        (
            "https://a/infer?model=resnet50-imagenet-2024-01-05-a",
            "https://a/infer?model=resnet50-imagenet-2024-01-05-a",
        ),
        (f"https://a/infer?key={WRITTEN}", "https://a/infer?key=***"),
        (f"https://a/infer?v=2&API_KEY={WRITTEN}&w=3", "https://a/infer?v=2&API_KEY=***&w=3"),
        (f"https://a/infer?subscription-key={WRITTEN}#x", "https://a/infer?subscription-key=***#x"),
        (f"https://a/infer?access_token={WRITTEN};sig={WRITTEN}", "https://a/infer?access_token=***;sig=***"),
        (
            f"https://a/infer?X-Amz-Signature={WRITTEN}&code={WRITTEN}",
            "https://a/infer?X-Amz-Signature=***&code=***",
        ),
        ("https://a/infer?u=abcdef0123456789abcdef0123456789", "https://a/infer?u=***"),
        (f"https://a/infer?to%6ben={WRITTEN}", "https://a/infer?to%6ben=***"),
        ("https://user:pass@a/infer", "https://***@a/infer"),
        ("https://us@er:p@ss@a/infer", "https://***@a/infer"),
        (f"https://a/infer?x?key={WRITTEN}", "https://a/infer?x?key=***"),
        ("theirs.toml", "theirs.toml"),
    ],
)
def test_what_is_a_key_is_not_shown(url: str, shown: str) -> None:
    assert without_keys(url) == shown == without_keys(shown)
    assert bool(keys_of(url)) == ("=***" in shown)


@pytest.mark.parametrize("one", ["?", "&", ";", "=", "://", "://a@", "?a", "?a="])
def test_long_texts_are_looked_through_in_little_time(one: str) -> None:
    """What strangers ask for is, before anybody knows who they are."""
    begun = time.process_time()
    without_keys("://a" + one * 30_000)
    assert time.process_time() - begun < 1


def test_a_key_goes_to_the_suspect_and_into_no_error_ledger_or_line(tmp_path: Path) -> None:
    paths = []

    def echo(asked: Asked) -> Reply:
        paths.append(asked.path)
        return 400, {}, f"no such thing: {asked.path} {SECRET}".encode()

    with (
        scripted(echo) as url,
        asking(tmp_path, {"url": f"{url}/v1/models/m:predict?key={WRITTEN}"}) as asked,
    ):
        wrong = pytest.raises(SuspectError, match=r"\?key=\*\*\* answers 400")
        with wrong as caught:
            asked.black_box.ask(questions(2))
    assert paths == [f"/v1/models/m:predict?key={WRITTEN}"]
    files = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    for secret in (SECRET, WRITTEN):
        assert secret not in str(caught.value) and secret.encode() not in files and secret not in asked.told


def test_another_key_is_another_ledger_and_no_key_the_ledger_of_before() -> None:
    about = [
        remote_of({"url": f"https://a/infer{end}"}, CLASSES).about
        for end in ("", "?key=aaaaaaaa", "?key=bbbbbbbb")
    ]
    assert len({str(a) for a in about}) == 3 and "url_sha256" not in about[0] and "aaaaaaaa" not in str(about)


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://user:hushhush@a/infer"},
        {"url": "http://models.example/ask?token=hushhush"},
        {"url": "grpc://models.example/m?token=hushhush"},
        {"url": "http://models.example/infer?token=hushhush", "key_env": "SUSPECT_KEY"},
        {
            "url": "http://models.example/infer",
            "sign": "oauth",
            "oauth_url": "http://a:hushhush@b/",
            "oauth_id_env": "A",
        },
    ],
)
def test_wrong_settings_do_not_show_it(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSPECT_KEY", "k")
    with pytest.raises(ConfigError) as caught:
        opened(remote_of(settings, CLASSES))
    assert "hushhush" not in str(caught.value)


def test_evidence_names_the_suspect_without_its_key_and_says_when_it_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("store")
    id_ = save_kit(store, make_kit(facts={"classes": list(CLASSES)})).id
    found = []
    with serving(Stranger(near(seed=0, copy=70), CLASSES)) as stranger:
        url = f"{stranger.url}/v2/models/m/infer?api_key={WRITTEN}"
        for _ in range(2):
            assert main(["score", "--store", "store", "--kit", id_, "--suspect", url, "--json"]) == 0
            said = capsys.readouterr()
            found.append(store.load("evidence", json.loads(said.out)["evidence"]).meta)
            assert WRITTEN not in said.out + said.err and SECRET not in said.out + said.err
    assert found[0]["suspect"] == f"{stranger.url}/v2/models/m/infer?api_key=***"
    assert found[0]["answered"]["first"] <= found[0]["answered"]["last"] and found[0]["answered"][
        "first"
    ].endswith("+00:00")
    assert found[0] == found[1], "the second run asks nobody; the answers are as old as they were"
    kept = b"".join(p.read_bytes() for p in Path("ledgers").iterdir())
    assert WRITTEN.encode() not in kept and SECRET.encode() not in kept
