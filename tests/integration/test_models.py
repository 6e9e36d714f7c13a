"""Models and runs as artifacts: the zoo's, the user's own, and what was asked under a name."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zooaudit.config import FingerprintConfig, VerdictConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, DamagedArtifactError, MissingArtifactError, ModelError
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.storage.models import OwnModel, load_module, load_record, save_built, save_own
from zooaudit.storage.runs import begin_run, load_report, save_report
from zooaudit.zoo.build import BuiltModel, ModelRecord, Status
from zooaudit.zoo.fit import accuracy

RECORD = ModelRecord(Status.LEARNT, 0.9, None, 0, 0.0, 0, "own")


def test_a_model_of_the_zoo_comes_back_to_the_bit(
    built: BuiltModel, learnt: nn.Module, digits: Dataset, artifacts: Artifacts
) -> None:
    save_built(artifacts, built)
    module = load_module(artifacts, built.spec.id)
    assert load_record(artifacts, built.spec.id) == built.record
    assert all(torch.equal(t, built.weights[k]) for k, t in module.state_dict().items())
    assert accuracy(module, digits.test) == built.record.accuracy
    assert not module.training


def test_a_model_of_older_networks_is_not_run_as_one_of_todays(
    built: BuiltModel, artifacts: Artifacts
) -> None:
    """The same weights in other layers would answer, and wrongly."""
    old = replace(built.spec, version=1)
    save_built(artifacts, BuiltModel(old, built.weights, built.record))
    with pytest.raises(
        ModelError, match=rf"{old.id} was built by version 1 of the networks; this is version 2: audit again"
    ):
        load_module(artifacts, old.id)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan"])
def test_weights_that_do_not_fit_their_spec_are_damage(
    change: str, built: BuiltModel, artifacts: Artifacts
) -> None:
    weights = dict(built.weights)
    if change == "missing":
        del weights["head.bias"]
    else:
        weights[{"extra": "extra.bias"}.get(change, "head.bias")] = {
            "nan": torch.full((10,), float("nan"))
        }.get(change, torch.zeros(11))
    save_built(artifacts, BuiltModel(built.spec, weights, built.record))
    with pytest.raises(
        DamagedArtifactError,
        match=rf"model {built.spec.id}.*{'extra' if change == 'extra' else 'head'}\.bias",
    ):
        load_module(artifacts, built.spec.id)


def test_a_model_that_is_not_there_is_missing(artifacts: Artifacts) -> None:
    for read in (load_module, load_record):
        with pytest.raises(MissingArtifactError, match="model/victim-x"):
            read(artifacts, "victim-x")


FACTORY = "tests.support.makers:Affine"


@pytest.fixture
def own(tmp_path: Path) -> OwnModel:
    from tests.support.makers import Affine

    path = tmp_path / "mine.safetensors"
    save_file(Affine(seed=5).state_dict(), path)
    return OwnModel(path, FACTORY, (1, 4, 4), 4)


def test_the_users_own_model_outlives_its_file(own: OwnModel, artifacts: Artifacts) -> None:
    expected, id_ = own.load().state_dict(), own.id
    save_own(artifacts, own, RECORD)
    own.path.unlink()
    assert all(torch.equal(t, expected[k]) for k, t in load_module(artifacts, id_).state_dict().items())
    assert load_record(artifacts, id_) == RECORD
    assert id_.startswith("victim-own-")


def test_an_exported_model_too(
    exported: Path, digits: Dataset, artifacts: Artifacts, learnt: nn.Module
) -> None:
    own = OwnModel(exported, None, digits.image_shape, 10)
    save_own(artifacts, own, RECORD)
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(load_module(artifacts, own.id)(x), learnt(x), atol=1e-5, rtol=1e-5)


def test_a_victim_is_of_a_kind_that_is_kept_as_it_is(own: OwnModel, tmp_path: Path) -> None:
    """A reader for suspects does not make its files victims: they would be stored as what they are not."""
    other = Path(shutil.copy(own.path, tmp_path / "mine.npz"))
    with pytest.raises(
        ModelError, match=r"mine\.npz is of another kind, .*; expected \.safetensors or \.pt2"
    ):
        replace(own, path=other).load()


def test_own_id_follows_content_and_factory(own: OwnModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(own.path.read_bytes())
    assert replace(own, path=copy).id == own.id
    assert replace(own, factory="tests.support.makers:Other").id != own.id
    copy.write_bytes(copy.read_bytes()[:-1] + b"\x01")
    assert replace(own, path=copy).id != own.id
    with pytest.raises(ModelError, match=r"gone.safetensors does not exist"):
        assert replace(own, path=tmp_path / "gone.safetensors").id


def test_own_weights_whose_factory_changed_are_a_model_error(own: OwnModel, artifacts: Artifacts) -> None:
    changed = replace(own, factory="torch.nn:Identity")
    save_own(artifacts, changed, RECORD)
    with pytest.raises(ModelError, match="which the model does not have"):
        load_module(artifacts, changed.id)


def test_stored_pickles_stay_closed(own: OwnModel, artifacts: Artifacts, tmp_path: Path) -> None:
    """Whoever can write to the store can sign what he likes; it is still never unpickled."""
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")
    meta = {"factory": FACTORY, "image_shape": [1, 4, 4], "num_classes": 4, "record": RECORD.to_json()}
    artifacts.save(
        "model", "victim-own-evil", {"weights.safetensors": (tmp_path / "w.pt").read_bytes()}, meta
    )
    with pytest.raises(ModelError, match="Pickles can run code and are never opened"):
        load_module(artifacts, "victim-own-evil")


def test_the_same_run_again_is_a_resume(artifacts: Artifacts) -> None:
    assert begin_run(artifacts, "mine", DIGITS, "d1", None) == "mine"
    assert begin_run(artifacts, "mine", DIGITS, "d1", None) == "mine"


def test_a_runs_name_stands_for_one_thing(artifacts: Artifacts) -> None:
    begin_run(artifacts, "mine", DIGITS, "d1", None)
    other = replace(
        DIGITS,
        seed=4,
        verdict=VerdictConfig(fingerprints=7),
        fingerprint=FingerprintConfig(points=20, views=8),
    )
    with pytest.raises(ConfigError) as caught:
        begin_run(artifacts, "mine", other, "d2", "victim-own-1")
    for text in (
        "run mine",
        artifacts.url,
        "recipe.seed: 0 there, 4 asked",
        "recipe.verdict.fingerprints: 8 there, 7 asked",
        "data: d1 there, d2 asked",
        "own_victim: None there, victim-own-1 asked",
        "choose another name with --run",
    ):
        assert text in str(caught.value), str(caught.value)
    assert "epsilon" not in str(caught.value), "what agrees is not listed"


def test_a_report_is_kept_and_written_out_again(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "made" / "folder").mkdir(parents=True)
    (tmp_path / "made" / "report.html").write_text("<h1>fine</h1>")
    (tmp_path / "made" / "scores.parquet").write_bytes(b"scores")
    (tmp_path / "made" / ".env").write_text("SECRET=of somebody who chose this folder for the report")
    with pytest.raises(MissingArtifactError, match=r"run mine is unknown; finished runs in .*: none"):
        load_report(artifacts, "mine", tmp_path / "out")
    begin_run(artifacts, "mine", DIGITS, "d1", None)
    with pytest.raises(MissingArtifactError, match="run mine has not finished"):
        load_report(artifacts, "mine", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    save_report(artifacts, "mine", tmp_path / "made")
    page = load_report(artifacts, "mine", tmp_path / "out")
    assert page.read_text() == "<h1>fine</h1>"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.html", "scores.parquet"}
    with pytest.raises(MissingArtifactError, match=r"finished runs in .*: mine"):
        load_report(artifacts, "other", tmp_path / "out")


def test_tensor_names_may_hold_anything_a_module_calls_them() -> None:
    assert tensors_to_bytes({"a.b-c.0": torch.zeros(1)})
