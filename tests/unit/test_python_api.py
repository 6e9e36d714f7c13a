"""``import zooaudit as za``: the command line's results as values, its errors as exceptions, and nothing
heavy before it is used."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import zooaudit as za
from tests.support.kits import make_kit
from tests.support.makers import near, peer
from tests.support.onnx_files import export_onnx
from zooaudit.errors import ConfigError, InputError, MissingArtifactError, ModelError
from zooaudit.evidence.packs import export
from zooaudit.kits.kit import save_kit
from zooaudit.storage.opening import open_store
from zooaudit.suspects.opened import OpenSuspect


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> za.Kit:
    store = tmp_path_factory.mktemp("store")
    save_kit(open_store(str(store)), make_kit())
    return za.load_kit(store)


def answering(module: nn.Module) -> object:
    """As somebody who knows no torch would give it."""

    def theirs(images: np.ndarray) -> list[list[float]]:
        with torch.no_grad():
            found: list[list[float]] = module(torch.from_numpy(images)).softmax(1).tolist()
        return found

    return theirs


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, zooaudit; dir(zooaudit); print(*sys.modules)"
    modules = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert "zooaudit" in modules and not modules & {"torch", "ray", "numpy", "pyarrow", "zooaudit.api"}


def test_all_public_names_are_there_and_no_others() -> None:
    assert set(za.__all__) <= set(dir(za)) and all(getattr(za, name) is not None for name in za.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'scor'; the public ones are .* score_many"):
        _ = za.scor


@pytest.mark.parametrize("as_function", [True, False])
def test_a_copy_is_stolen_whether_it_is_a_module_or_a_function(as_function: bool, kit: za.Kit) -> None:
    copy = near(0, 77)
    found = kit.score(answering(copy) if as_function else copy, name="theirs")
    assert (found.suspect, found.decision, found.p_value, found.queries) == ("theirs", "stolen", 0.05, 40)
    assert found.statistic is not None and found.statistic > 2 and found.facts["evidence"]
    assert (
        str(found).startswith("theirs: stolen: p 0.05")
        and "<strong>theirs: stolen</strong>" in found._repr_html_()
    )
    assert found.to_dict() is found.facts
    assert kit.score(peer(2000), name="own", ask_everything=True).decision == "not shown"


def test_several_are_judged_together_and_one_that_fails_spoils_no_other(kit: za.Kit) -> None:
    def broken(images: np.ndarray) -> np.ndarray:
        raise RuntimeError("no model today")

    found = za.score_many(kit, [("copy", near(0, 78)), ("own", peer(2001)), broken])
    assert [s.decision for s in found] == [
        "cannot tell",
        "not shown",
        "cannot tell",
    ], "19 twins are too few for three suspects"
    assert found[2].suspect == "broken" and "no model today" in found[2].reason
    table = pa.concat_tables([s.to_arrow() for s in found])
    assert table.column_names == [
        "suspect",
        "decision",
        "p_value",
        "statistic",
        "queries",
        "reason",
        "evidence",
    ]
    assert table.column("suspect").to_pylist() == ["copy", "own", "broken"]
    with pytest.raises(ModelError, match=r"broken failed on float images .* no model today"):
        kit.score(broken)


def test_the_papers_test_is_beside_it(kit: za.Kit) -> None:
    found = kit.score_paper(near(0, 79), name="theirs")
    assert found.decision == "" and found.facts["paper"]["decision"] in ("piracy", "inconclusive")


def test_options_are_those_of_the_command_line(kit: za.Kit, tmp_path: Path) -> None:
    assert (
        kit.score(answering(near(0, 77)), name="theirs", access="label", queries=120).facts["access"]
        == "label"
    )
    with pytest.raises(ConfigError, match=r"one of the kit's looks|expected one of 40, 80, 120"):
        kit.score(near(0, 77), name="theirs", queries=50)
    with pytest.raises(
        ConfigError, match=r"there is no option nonsense; expected one of access, .*suspect_classes"
    ):
        kit.score(near(0, 77), name="theirs", nonsense=1)
    for wrong in (
        {"p_value": "Normal"},
        {"correction": "holmes"},
        {"method": "twin"},
        {"contract": "classes.columns=[0,1,2,3]"},
    ):
        with pytest.raises(ConfigError, match=r"expected one of|classes\.columns is for files"):
            kit.score(peer(2000), name="own", **wrong)
    with pytest.raises(InputError, match=r"nothing\.onnx"):
        kit.score(tmp_path / "nothing.onnx")
    with pytest.raises(MissingArtifactError, match="there is no store"):
        za.load_kit(tmp_path / "nowhere")


def test_a_file_is_called_what_it_is_named(kit: za.Kit, tmp_path: Path) -> None:
    path = export_onnx(near(0, 77), tmp_path / "m.onnx")
    assert kit.score(path, name="theirs").suspect == "theirs"
    assert kit.score(path).suspect == str(path)


def test_an_api_is_described_by_keywords(
    kit: za.Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="does not show its protocol"):
        kit.score(za.HttpSuspect("http://127.0.0.1:9/classify", rate=20))
    with pytest.raises(ConfigError, match="speed"):
        kit.score(za.HttpSuspect("http://127.0.0.1:9/v2/models/m/infer", speed=20))
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(
        OpenSuspect,
        "described",
        lambda settings, how: asked.append(settings) or OpenSuspect.of(near(0, 77), how),
    )
    assert kit.score(za.HttpSuspect("http://127.0.0.1:9/v2/models/m/infer", rate=20)).decision == "stolen"
    assert asked == [{"url": "http://127.0.0.1:9/v2/models/m/infer", "rate": 20}]


def test_a_recipe_is_loaded_and_changed() -> None:
    recipe = za.Recipe.load("digits").with_({"zoo.twins": 39, "zoo.architectures": ("B", "C")}, seed=3)
    assert (recipe.config.zoo.twins, recipe.config.seed, recipe.config.zoo.architectures) == (
        39,
        3,
        ("B", "C"),
    )
    assert za.Recipe.load("digits").config.zoo.twins == 19, "a changed recipe is another one"
    with pytest.raises(ConfigError, match="did you mean twins"):
        recipe.with_({"zoo.twin": 2})
    with pytest.raises(ConfigError, match="digit"):
        za.Recipe.load("digit")


def test_an_audit_is_read_from_the_store_and_a_scores_evidence_verified(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    audit = za.audit("digits", store=own_store, out=tmp_path / "report")
    assert (
        audit.report.is_file()
        and audit.summary["models"]["trained"] == 0
        and audit.kit in audit._repr_html_()
    )
    kit = za.load_kit(own_store)
    assert (kit.id, kit.facts["twins"]) == (audit.kit, 19)
    found = kit.score(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), name="own", ask_everything=True)
    pack = export(open_store(str(own_store)), found.facts["evidence"], tmp_path / "case.zip")
    checked = za.verify(pack)
    assert not checked.rejected and checked.facts["suspect"] == "own" and checked.to_dict()["findings"]
    pack.write_bytes(pack.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a pack"):
        za.verify(pack)


def test_wrong_options_of_an_audit_are_errors_and_end_no_process(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="twinz"):  # of the recipe's changes and of --set none is lost
        za.audit(za.Recipe.load("digits").with_(seed=3), store=tmp_path / "s", set=["zoo.twinz=3"])
    with pytest.raises(ConfigError, match=r"there is no option stor; expected one of .*store"):
        za.audit("digits", stor="x")
    with pytest.raises(ConfigError, match="there is no 'rai'"):
        za.audit("digits", store=tmp_path / "s", farm="rai")
