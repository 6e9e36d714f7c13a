"""What this machine cannot run: left out of the session, and named with the reason at its end."""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cluster.seaweed import weed
from tests.support.images import no_image_tools

PACKAGE = "dataset-fashion-mnist"


def no_gpu() -> str:
    return "" if torch.cuda.is_available() else "no GPU here"


def no_network() -> str:
    """Whether the Debian package can be had; asks apt's own lists, downloads nothing."""
    if shutil.which("apt-get") is None:
        return "no apt-get here, and torchvision's mirrors are not asked by tests"
    asked = subprocess.run(["apt-get", "--print-uris", "download", PACKAGE], capture_output=True, check=False)
    return "" if asked.returncode == 0 else f"apt-get knows no {PACKAGE}: run apt-get update"


def no_s3_server() -> str:
    try:
        weed()
    except RuntimeError as error:
        return str(error)
    return ""


def chromium() -> str:
    """Path of Chromium or Chrome; "" if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), "")


def no_browser() -> str:
    return "" if chromium() else "no chromium here: apt-get install chromium"


def no_shells() -> str:
    missing = [name for name in ("zsh", "fish") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)} here: apt-get install {' '.join(missing)}" if missing else ""


CANNOT: dict[str, Callable[[], str]] = {
    "gpu": no_gpu,
    "browser": no_browser,
    "network": no_network,
    "s3": no_s3_server,
    "shells": no_shells,
    "image": no_image_tools,
}
QUICK = "--quick"
KINDS = (
    "long",
    "processes",
    "ray",
    "s3",
    "serve",
    "browser",
    "fuzz",
    "soak",
    "chaos",
    "gpu",
    "network",
    "shells",
    "image",
)


def add_option(parser: pytest.Parser) -> None:
    parser.addoption(QUICK, action="store_true", help="leave out the tests marked long")


class LeftOut:
    """A pytest plugin: deselects what cannot run, and says so."""

    TOLD = "left_out"

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    @pytest.hookimpl(trylast=True)  # after -m has left out what was not asked for
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for kind in KINDS:
            marked = [i for i in items if i.get_closest_marker(kind)]
            reason = CANNOT[kind]() if marked and kind in CANNOT else ""
            if kind == "long" and config.getoption(QUICK):
                reason = f"{QUICK}: without it, and by make test, they run"
            self.counts[kind] = len(marked)
            if reason:
                self.reasons[kind] = reason
                config.hook.pytest_deselected(items=marked)
                items[:] = [i for i in items if i not in marked]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker of pytest-xdist tells the session that started it, which collects nothing itself."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[self.TOLD] = (self.reasons, self.counts)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.reasons, self.counts = getattr(node, "workeroutput", {}).get(
            self.TOLD, (self.reasons, self.counts)
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        ran = ", ".join(f"{k} {n}" for k, n in self.counts.items() if n and k not in self.reasons)
        terminalreporter.write_line(f"ran beside the unit tests: {ran or 'nothing'}")
        for kind, reason in self.reasons.items():
            terminalreporter.write_line(f"left out: {self.counts[kind]} {kind} tests ({reason})")
