"""Evidence for tests: a finished audit's store to add to, suspects as strangers' files, packs, checks."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.support.finished import Finished
from tests.support.strangers import Stranger, serving
from zooaudit.cli.main import main
from zooaudit.kits.kit import Kit, find_kit, load_kit
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.models import WEIGHTS, load_module
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.examined import Examined

Capture = pytest.CaptureFixture[str]
FACTORY = """
from dataclasses import asdict, replace
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.shape import ModelShape
from zooaudit.data.resolve import load_digits

def make():
    mean, std = load_digits().channel_stats
    return build_architecture({architecture!r}, ModelShape((1, 8, 8), 10, mean, std, (8, 16), 32))
"""


@pytest.fixture(scope="module")
def case_store(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished audit's store, for this module to add evidence to."""
    return Path(shutil.copytree(finished.store, tmp_path_factory.mktemp("evidence") / "store"))


@pytest.fixture
def scored(
    case_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> dict[str, Any]:
    """A copy of the victim with a little noise, scored."""
    monkeypatch.syspath_prepend(str(tmp_path))
    capsys.readouterr()
    asked = ["--kit", kit_of(case_store).id, *stolen(case_store, tmp_path), "--json"]
    assert main(["score", "--store", str(case_store), *asked]) == 0
    return json.loads(capsys.readouterr().out)


def kit_of(case_store: Path) -> Artifact:
    """The kit that the audit made, not one that a test tampered with."""
    artifacts = open_store(str(case_store))
    return find_kit(
        artifacts,
        next(k for k in artifacts.ids("kit") if "framed" not in artifacts.load("kit", k).meta["facts"]),
    )


def suspect(case_store: Path, folder: Path, role: str) -> list[str]:
    """Options of ``score`` for a model of the zoo, as a stranger's file."""
    artifacts = open_store(str(case_store))
    specs = {
        i: artifacts.load("model", i).meta["spec"]
        for i in artifacts.ids("model")
        if i.startswith(f"{role}-B")
    }
    id_ = next(i for i, spec in specs.items() if spec["group"] == "suspect")
    (folder / f"{role}.safetensors").write_bytes(artifacts.load("model", id_).read(WEIGHTS))
    (folder / "strangers_nets.py").write_text(FACTORY.format(architecture="B"))
    return ["--suspect", str(folder / f"{role}.safetensors"), "--factory", "strangers_nets:make"]


def copied(case_store: Path) -> nn.Module:
    """The victim with a little noise in its weights: no other model has as much of it."""
    artifacts = open_store(str(case_store))
    model = load_module(artifacts, artifacts.load("kit", kit_of(case_store).id).meta["victim"])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights += (
                0.01 * weights.std() * torch.randn(weights.shape, generator=generator)
                if weights.numel() > 1
                else 0
            )
    return model


def stolen(case_store: Path, folder: Path) -> list[str]:
    """Options of ``score`` for that copy, as a stranger's file."""
    state = {name: tensor.contiguous() for name, tensor in copied(case_store).state_dict().items()}
    save_file(state, folder / "stolen.safetensors")
    (folder / "strangers_copy.py").write_text(FACTORY.format(architecture="A"))
    return ["--suspect", str(folder / "stolen.safetensors"), "--factory", "strangers_copy:make"]


def exported(case_store: Path, id_: str, out: Path, *options: str) -> Path:
    assert (
        main(["evidence", "export", str(out), "--store", str(case_store), "--evidence", id_, *options]) == 0
    )
    return out


def verified(
    capsys: Capture, pack: Path, *options: str
) -> tuple[int, dict[str, bool | None], dict[str, Any]]:
    capsys.readouterr()
    code = main(["evidence", "verify", str(pack), "--json", "--farm", "serial", *options])
    data = json.loads(capsys.readouterr().out)
    return code, {f["check"]: f["passed"] for f in data["findings"]}, data


@pytest.fixture
def case_kit(case_store: Path) -> Kit:
    return load_kit(open_store(str(case_store)), kit_of(case_store).id)


@pytest.fixture
def case_thief(case_store: Path, case_kit: Kit) -> Iterator[Stranger]:
    """A stolen model behind HTTP."""
    with serving(
        Stranger(copied(case_store), case_kit.classes, inputs=[-1, *case_kit.image_shape])
    ) as served:
        yield served


def score_of(capsys: Capture, store: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = main(["score", "--store", str(store), "--kit", kit_of(store).id, "--json", *options])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


@pytest.fixture
def kept_evidence(case_store: Path, case_kit: Kit) -> Examined:
    """A stolen model, examined."""
    return case_kit.twin_test.examine(TorchBlackBox(copied(case_store), case_kit.num_classes))
