"""The README and docs say what is so: commands parse, files exist, tables match the committed results, recipes and codes agree."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from zooaudit import errors
from zooaudit.cli.main import make_parser
from zooaudit.recipes.named import RECIPES
from zooaudit.studies.borders import PAPER_IPGUARD
from zooaudit.studies.registry import STUDIES
from zooaudit.studies.similarity import SHOWN

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[str]:
    """Every complete ``zooaudit`` command line in the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip().removeprefix(".venv/bin/") for line in lines if "zooaudit " in line.split("#")[0]]


def test_there_are_commands() -> None:
    assert len(commands()) >= 5


@pytest.mark.parametrize("command", commands())
def test_command_parses(command: str) -> None:
    make_parser().parse_args(shlex.split(command)[1:])


def test_job_commands_parse() -> None:
    pages = README + "".join(p.read_text() for p in (ROOT / "zooaudit" / "jobs").glob("*.py"))
    jobs = re.findall(r"python (?:jobs/|-m zooaudit\.jobs\.)([a-z]+)(?:\.py)? ([a-z-].*)", pages)
    assert {name for name, _ in jobs} == {"audit", "zoo", "score", "sweep"}
    for name, options in jobs:
        make_parser().parse_args([name, "--log", "events", *shlex.split(options.split("`")[0])])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_tables_are_made_from_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["main"]() == 0, "run python benchmarks/tables.py"
    assert "seeds" in README.partition("<!-- table: audit -->")[2].partition("<!-- end -->")[0]


def test_reproduction_is_made_from_the_committed_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduction.py", "--check"])
    assert runpy.run_path(str(ROOT / "benchmarks" / "reproduction.py"))["main"]() == 0, "run python benchmarks/reproduction.py"


def test_every_study_was_run_on_the_papers_first_dataset() -> None:
    """Or the page says that it was not."""
    page = (ROOT / "docs" / "reproduction.md").read_text()
    rows = page.partition("## fmnist-paper")[2].partition("\n## ")[0]
    head = page.partition("## ")[0]
    for study in STUDIES.values():
        was_run = f"`zooaudit study {study.name} --recipe fmnist-paper`" in rows
        assert was_run or (f"`{study.name}`" in head and "on none at all" in head), study.name


def test_the_papers_three_data_sets_have_their_rows() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text()
    for dataset, stated in PAPER_IPGUARD.items():
        assert f"IPGuard {stated:g}" in page and SHOWN[dataset] in page, dataset


def test_every_recipe_and_subcommand_is_described() -> None:
    for recipe in RECIPES:
        assert f"`{recipe}`" in README
    for name in ("audit", "zoo", "uap", "plan", "study", "sweep", "kit", "score", "report", "data", "store", "doctor"):
        assert re.search(rf"`(zooaudit )?{name}\b", README), name


def test_exit_codes_agree() -> None:
    stated = dict(re.findall(r"(\d) ([a-z ]+?)[,.]", README.partition("Exit codes:")[2].splitlines()[0]))
    for error, word in ((errors.InputError, "bad input"), (errors.StoreError, "store"), (errors.FarmError, "the farm gave up")):
        assert stated[str(error.exit_code)] == word


def test_flow_names_rooms_that_exist() -> None:
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]*)+(?:\.py)?)`", (ROOT / "docs" / "flow.md").read_text()):
        assert (ROOT / "zooaudit" / path).exists(), path
