"""``zooaudit study``: what it lists, writes and tells, and how it goes on where models are lacking."""

import json
from pathlib import Path

import pytest

from tests.support.studied import TINY, Studied
from zooaudit.cli.main import main
from zooaudit.errors import NotEnoughModelsError
from zooaudit.recipes import named
from zooaudit.studies import modifications, runner
from zooaudit.studies.registry import ON_MODELS, STUDIES

pytestmark = [pytest.mark.xdist_group("studies"), pytest.mark.usefixtures("small_studies")]


def command(studied: Studied, out: Path, *names: str) -> list[str]:
    return ["study", *names, "--recipe", "tiny", "--store", studied.place, "--out", str(out)]


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*STUDIES, *ON_MODELS]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny zoo's recipe, by name."""
    monkeypatch.setitem(named.RECIPES, "tiny", TINY)


def test_the_command_writes_files_and_says_what_holds(
    known: None,
    studied: Studied,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(studied, tmp_path / "out", "views", "auc")) == 0
    output = capsys.readouterr().out
    assert "Views of one model are more alike" in output and "read from the store" in output
    assert {"views.json", "views.parquet", "views.svg", "auc.json"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_a_programme_gets_one_object_with_the_tables_rows(
    known: None,
    studied: Studied,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command(studied, tmp_path / "out", "auc"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["rows"] == [{"study": "auc", **row} for row in studied.results["auc"].rows]
    assert {"encoder", "auc_homologous", "auc_look_alike"} <= set(data["rows"][0])


def test_studies_that_lack_models_do_not_stop_the_others(
    known: None,
    studied: Studied,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modifications, "PRUNED", (0.3,))
    monkeypatch.setattr(runner, "METHOD", "another")  # so that nothing is read
    assert (
        main(command(studied, tmp_path / "out", "modifications", "views")) == NotEnoughModelsError.exit_code
    )
    out, err = capsys.readouterr()
    assert "Views of one model" in out and (tmp_path / "out" / "views.json").exists()
    assert "1 of 2 studies lack models (modifications)" in err and "--build" in err


@pytest.mark.parametrize("names", [["all", "views"], ["nothing"]])
def test_wrong_names_are_bad_input(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *names]) == 2
    assert "stud" in capsys.readouterr().err
