"""Every description in docs/apis.md, asked of a real server of its kind as it stands; and an audit that is
killed goes on with each."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.asking import CLASSES, MODEL, asking, questions, truth
from tests.support.places import ROOT
from tests.support.tritons import Triton, over_grpc
from tests.support.wires import THEIRS, Services, standing
from zooaudit.errors import ConfigError
from zooaudit.suspects.remote import Remote, read_remote, remote_of

PAGE = (ROOT / "docs" / "apis.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = {tomllib.loads(block)["url"]: block for block in BLOCKS}


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
