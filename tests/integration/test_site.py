"""The site: MkDocs builds it strictly, and it loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from zooaudit.cli.subcommands import SUBCOMMANDS

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_it(site: Path) -> None:
    pages = {p.relative_to(ROOT / "docs").with_suffix(".html") for p in (ROOT / "docs").rglob("*.md")}
    beside = {
        Path(name) for name in ("index.html", "clusters.html", "changelog.html", "tutorials/digits.html")
    }
    assert pages | beside <= {p.relative_to(site) for p in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?(https?://[^\" >]+)", page.read_text()
        )
        assert not loaded, (page.name, loaded)


def test_every_command_has_its_options_on_it(site: Path) -> None:
    text = (site / "commands.html").read_text()
    for name in SUBCOMMANDS:
        assert f"zooaudit {name}</h3>" in re.sub(r"<a class=\"headerlink.*?</a>", "", text), name
    assert "--allow-key-env" in text and "every option --" not in text


def test_files_of_the_repository_come_along(site: Path) -> None:
    assert (site / "files" / "zooaudit" / "auditing" / "pipeline.py").read_text() == (
        ROOT / "zooaudit" / "auditing" / "pipeline.py"
    ).read_text()
    assert 'href="files/uv.lock"' in (site / "install.html").read_text()


def test_lists_and_tables_are_lists_and_tables(site: Path) -> None:
    """python-markdown wants an empty line before a list, GitHub does not."""
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code|script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
        found = re.search(r"<p>[^<]*\n(?:- |\| )[^<]*", text)
        assert not found, (page.name, found[0] if found else "")


def test_the_notebook_shows_what_it_drew(site: Path) -> None:
    text = (site / "tutorials" / "digits.html").read_text()
    assert "data:image/png;base64," in text and "rank 1 of 20" in text
