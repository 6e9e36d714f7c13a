"""The console in a real browser, for its tests: a service, a browser, a page with a key;
what axe-core says of it."""

import importlib.resources
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.bodies import as_parquet, table
from tests.support.kits import K, make_kit
from tests.support.left_out import chromium
from tests.support.makers import make_twin_test
from tests.support.service import CLASSES
from tests.support.serving import listening
from tests.support.strangers import Stranger
from zooaudit.choices import SCOPES
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.serving.application import make_app
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.keys import new_key
from zooaudit.serving.service import InProcess
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox

# A page says what the service does, which on a busy machine is not done in the usual five seconds.
expect.set_options(timeout=20_000)

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCOPED = {"all": SCOPES, "scorer": ("read", "score"), "reader": ("read",)}


@dataclass
class Desk:
    """A service with one kit, where it is, and keys for it."""

    address: str
    kit: Kit
    id: str
    keys: dict[str, str]
    folder: Path
    app: Any

    def answers(self, folder: Path, model: torch.nn.Module, name: str = "answers") -> Path:
        """A file of a suspect's answers."""
        path = folder / f"{name}.parquet"
        path.write_bytes(as_parquet(table(TorchBlackBox(model, K).ask(self.kit.twin_test.questions()))))
        return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, stranger: Stranger) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("console")
    kit = make_kit(facts={"accused": {"look-alike": [3, 4]}, "classes": list(CLASSES)})
    id_ = save_kit(open_store(str(folder / "store")), kit).id
    keys, entries = {}, ""
    for name, scopes in SCOPED.items():
        keys[name], entry = new_key(name, scopes, 0, None)
        entries += entry
    (folder / "keys.toml").write_text(entries)
    named = (stranger.url.removeprefix("http://"), "127.0.0.1:9")
    auditor = Auditor(
        Settings(
            str(folder / "store"),
            (),
            folder / "keys.toml",
            data=folder / "data",
            suspects=named,
            model_bytes=2**20,
        )
    )
    app = make_app(auditor._settings, audits=InProcess(auditor))
    with TestClient(app), listening(app) as address:
        yield Desk(address, kit, id_, keys, folder, app)
    auditor.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    """With a key that may do everything; fails if the page says anything to the browser's console."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(60_000)
    made = context.new_page()
    made.on("console", lambda m: complaints.append(m.text))
    made.on("pageerror", lambda e: complaints.append(str(e)))
    made.goto(desk.address)
    sign_in(made, desk)
    yield made
    context.close()
    refusals = (
        "the server responded with a status of 4",
        "net::ERR_",
        "the server responded with a status of 503",
    )
    assert [c for c in complaints if not any(r in c for r in refusals)] == [], (
        "what is refused is said on the page"
    )


def sign_in(page: Page, desk: Desk, key: str = "all") -> None:
    page.fill("#key", desk.keys[key])
    page.keyboard.press("Enter")
    page.wait_for_selector("nav a")


def to(page: Page, desk: Desk, path: str, waits: str = "h1") -> None:
    """By address, as from a bookmark."""
    page.goto(f"{desk.address}/console{path}")
    page.wait_for_selector(waits)


def judge(page: Page, desk: Desk, files: Path | list[Path], **fields: str) -> None:
    """On the page where answers are judged."""
    to(page, desk, f"/kits/{desk.id}/judge", "#score-form")
    page.set_input_files("#file", files)
    for name, value in fields.items():
        page.fill(f"#score-form input[name={name}]", value)
    page.click("#score-form button")


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it stands."""
    source = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
    page.evaluate(source)
    found = page.evaluate("(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})", RULES)
    return [
        f"{v['id']}: {v['help']}: {n['html'][:200]} {n['failureSummary'][:200]}"
        for v in found["violations"]
        for n in v["nodes"]
    ]


def too_few_twins(desk: Desk) -> str:
    """Another kit, which accuses nobody: its id."""
    return save_kit(
        open_store(str(desk.folder / "store")), replace(desk.kit, twin_test=make_twin_test(twins=9))
    ).id


class Wire:
    """The network between the page and one path: may be cut, or the service behind it
    stopped; counts what goes over it."""

    def __init__(self, page: Page, path: str, method: str = "GET") -> None:
        self.cut, self.stopped, self.seen, self._method = False, False, 0, method
        self.headers: list[dict[str, str]] = []
        page.route(re.compile(path), self._on)

    def _on(self, route: Any) -> None:
        if route.request.method != self._method:
            route.continue_()
            return
        self.seen += 1
        self.headers.append(route.request.headers)
        if self.cut:
            route.abort("connectionfailed")
        elif not self.stopped:  # else nobody answers, and nothing fails
            route.continue_()


COLOUR = "(node) => getComputedStyle(node).color"
