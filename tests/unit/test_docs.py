"""The README and docs say what is so: commands parse, files exist, tables match the committed results,
recipes and codes agree."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from zooaudit import errors
from zooaudit.cli.main import EXIT_CODES, make_parser
from zooaudit.cli.subcommands import SUBCOMMANDS
from zooaudit.recipes.named import RECIPES
from zooaudit.studies.borders import PAPER_IPGUARD
from zooaudit.studies.registry import STUDIES
from zooaudit.studies.similarity import SHOWN
from zooaudit.verdict.decision import Decision

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "cluster" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSER = make_parser()
HISTORY = ("docs/log.md", "docs/decisions")
"""Pages that tell what was done when, by the commands of then."""
RECORDED = "docs/reproduction"
"""Its commands are those that the committed outcomes were made by; studies may have other names since."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fenced(text: str) -> list[str]:
    """Every ``zooaudit`` command line in shell blocks, ended where a shell would end it."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [
        re.split(r" [|>] | && ", line)[0].removeprefix(".venv/bin/")
        for line in bare
        if re.match(r"(\.venv/bin/)?zooaudit ", line)
    ]


def spans(text: str) -> list[str]:
    """Every ``zooaudit`` command, whole or begun, in running text."""
    return re.findall(
        r"`(zooaudit [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


LINES = [(name_of(page), line) for page in PAGES for line in fenced(page.read_text())]
SPANS = sorted(
    {
        (name_of(p), span)
        for p in PAGES
        if not name_of(p).startswith((*HISTORY, RECORDED))
        for span in spans(p.read_text())
    }
)


def test_there_are_commands() -> None:
    assert len(fenced(README)) >= 5 and len(LINES) >= 60 and len(SPANS) >= 60


@pytest.mark.parametrize(("page", "command"), LINES)
def test_command_parses(page: str, command: str) -> None:
    PARSER.parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize(("page", "span"), SPANS)
def test_command_in_a_sentence_has_words_that_there_are(page: str, span: str) -> None:
    """It may be the beginning of one, or have ... in it; its subcommand and options must be the parser's."""
    words = shlex.split(span)[1:]
    if words[0].startswith("-") or words[0] == "COMMAND":
        assert words[0] in ("--version", "--help", "COMMAND")
        return
    alone = options_of(words[0].rstrip(","))
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in alone, f"{page}: {span}"


def options_of(subcommand: str) -> set[str]:
    """All options of a subcommand, and of those below it."""
    (action,) = (a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction))
    parsers, found = [action.choices[subcommand]], set()
    while parsers:
        for one in parsers.pop()._actions:
            found |= set(one.option_strings)
            if isinstance(one, argparse._SubParsersAction):
                parsers += one.choices.values()
    return found


def test_job_commands_parse() -> None:
    pages = "".join(
        p.read_text()
        for p in (*PAGES, *(ROOT / "zooaudit" / "jobs").glob("*.py"))
        if not name_of(p).startswith(HISTORY)
    )
    jobs = re.findall(
        r"python (?:jobs/|-m zooaudit\.jobs\.)([a-z]+)(?:\.py)? ([a-z-].*)", pages.replace("\\\n", "")
    )
    assert {name for name, _ in jobs} == {"audit", "zoo", "score", "sweep"}
    for name, options in jobs:
        PARSER.parse_args([name, "--log", "events", *shlex.split(options.split("`")[0], comments=True)])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """In the repository, as GitHub shows it; tests/integration/test_site.py looks at the site."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        place, _, anchor = target.partition("#")
        if place.startswith(("http", "mailto:")):
            continue
        found = (page.parent / place) if place else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(
        r"^#+ (.*)$",
        re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    prose = [
        line
        for line in lines
        if not line.startswith("|") and "](" not in line and not line.startswith("Share called")
    ]
    assert max(map(len, prose)) <= 140


def test_places_that_code_names_are_there() -> None:
    """docs/ in messages, help, docstrings and comments."""
    files = [
        p
        for folder in ("zooaudit", "cluster", "jobs", "benchmarks", "scripts")
        for p in (ROOT / folder).rglob("*")
        if p.suffix in CODE
    ]
    named = {
        (p, place)
        for p in files
        for place in re.findall(r"(?<![\w/.])docs/[\w-]+(?:/[\w-]+)*(?:\.\w+)?", p.read_text())
    }
    assert len(named) > 20
    for path, place in named:
        found = (ROOT / place).exists() or list(ROOT.glob(f"{place}-*")) or "RECIPE" in place
        assert found, f"{path.relative_to(ROOT)} names {place}"


CODE = {".py", ".js", ".j2", ".html", ".md", ".yaml", ".toml"}


def test_picture_is_made_from_the_committed_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["twins_picture.py", "--check"])
    assert runpy.run_path(str(ROOT / "benchmarks" / "twins_picture.py"))["main"]() == 0, (
        "run python benchmarks/twins_picture.py"
    )


def test_tables_are_made_from_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["main"]() == 0, (
        "run python benchmarks/tables.py"
    )
    page = (ROOT / "docs" / "costs.md").read_text()
    assert "seeds" in page.partition("<!-- table: audit -->")[2].partition("<!-- end -->")[0]


def test_reproduction_is_made_from_the_committed_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduction.py", "--check"])
    assert runpy.run_path(str(ROOT / "benchmarks" / "reproduction.py"))["main"]() == 0, (
        "run python benchmarks/reproduction.py"
    )


def test_every_study_was_run_on_the_papers_first_dataset() -> None:
    """Or the page says that it was not."""
    page = (ROOT / "docs" / "reproduction.md").read_text()
    for study in STUDIES.values():
        was_run = (ROOT / "docs" / "reproduction" / "fmnist-paper" / f"{study.name}.json").exists()
        assert was_run or f"`{study.name}`" in page, study.name


def test_the_papers_three_data_sets_have_their_rows() -> None:
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "reproduction").glob("*.md"))
    for dataset, stated in PAPER_IPGUARD.items():
        assert f"IPGuard {stated:g}" in pages and SHOWN[dataset] in pages, dataset


def test_every_table_is_on_a_page() -> None:
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["TABLES"].keys()
    shown = set(
        re.findall(r"^<!-- table: ([\w-]+) -->$", "".join(p.read_text() for p in PAGES), re.MULTILINE)
    )
    assert shown == tables | {"fields"}


def test_every_recipe_and_subcommand_is_described() -> None:
    recipes, commands = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("recipes", "commands"))
    for recipe in RECIPES:
        assert f"`{recipe}`" in recipes
    described = {
        word
        for cell in re.findall(r"^\| `zooaudit ([^|]+)\|", commands, re.MULTILINE)
        for word in re.findall(r"[a-z]+", cell)
    }
    assert set(SUBCOMMANDS) <= described


def test_exit_codes_agree() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    stated = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", page.partition("## Exit codes")[2], re.MULTILINE))
    for error, word in (
        (errors.InputError, "bad input"),
        (errors.StoreError, "the store"),
        (errors.FarmError, "the farm gave up"),
    ):
        assert stated[str(error.exit_code)].startswith(word)
    assert set(stated) == set(re.findall(r"(?<!\w)(\d+) [a-z]", EXIT_CODES.partition("After")[0])), (
        "those of --help"
    )


def test_glossary_has_the_words_of_a_verdict_and_of_a_kit() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text()
    words = {
        word.lower()
        for entry in re.findall(r"^- (\*\*.*?\*\*):", page, re.MULTILINE)
        for word in re.findall(r"\*\*(.*?)\*\*", entry + "**")
    }
    wanted = (
        "victim twin suspect reference candidate kit look level p-value rank hub recovery agreement"
        " commitment uap encoder fingerprint"
    )
    assert (
        set(wanted.split())
        | {
            "access level",
            "control question",
            "homologous model",
            "piracy model",
            "evidence pack",
            "twin test",
        }
        <= words
    )
    assert all(f"**{call}**" in page for call in Decision)


def test_flow_names_rooms_that_exist() -> None:
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]*)+(?:\.py)?)`", (ROOT / "docs" / "flow.md").read_text()):
        assert (ROOT / "zooaudit" / path).exists(), path
