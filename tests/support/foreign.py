"""A folder of models that somebody else trained, as small as can be: peers and what was
made from them, 4 x 4 images, four classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import Affine, near, peer
from zooaudit.studies.collected import read
from zooaudit.studies.owners import Owner, owners

SIZES = {"natural": 200, "foreign": 100, "attacker": 90}
VICTIM = "own-P1"
TWINS, REFERENCES = 19, 12


def load(folder: Path, id_: str) -> nn.Module:
    """As ``--load tests.support.foreign:load``."""
    about = json.loads((Path(folder) / id_ / "about.json").read_text())
    if about["architecture"] == "answers only":
        raise FileNotFoundError(id_)
    return made(about["architecture"])


def made(architecture: str) -> Affine:
    """``peer SEED OWN``, ``near SEED COPY``, or ``like SEED OTHER SHARE``: a peer with a
    share of what is another's own."""
    kind, *numbers = architecture.split()
    if kind == "peer":
        return peer(int(numbers[0]), float(numbers[1]))
    if kind == "near":
        return near(int(numbers[0]), int(numbers[1]))
    model, common, other = peer(int(numbers[0])), peer(999, 0.0), peer(int(numbers[1]))
    with torch.no_grad():
        for weights, theirs, shared in zip(
            model.parameters(), other.parameters(), common.parameters(), strict=True
        ):
            weights.add_(float(numbers[2]) * (theirs - shared))
    return model


def collection(
    folder: Path, innocents: int = 12, like: str = "peer {seed} 0.6", name: str = "squares", swapped: int = 0
) -> Path:
    """Write it: a victim, 19 twins, references, innocents from seed 2000 on, three copies and a thief who
    asked; returns the folder.

    Args:
        like: the architecture of innocents.
        swapped: which of the candidates is the victim.
    """
    pools = {n: _images(count, i) for i, (n, count) in enumerate(SIZES.items())}
    labels = peer(999, 0.0)(pools["natural"].float() / 255).argmax(1)
    at = folder / name
    at.mkdir(parents=True, exist_ok=True)
    np.savez(at / "pools.npz", natural_labels=labels.numpy(), **{n: x.numpy() for n, x in pools.items()})
    seeds = (0, *range(10, 10 + TWINS))
    for number, seed in enumerate(seeds):
        role = "victim" if number == swapped else "twin"
        write(at, f"candidate-{number:02d}", f"peer {seed} 0.6", pools, role=role, victim=VICTIM, family=role)
    for i in range(REFERENCES):
        made_by = {"attack": "jbda", "labels": "soft"} if i % 2 else {}
        write(
            at,
            f"reference-{i:02d}",
            f"peer {1000 + i} 0.8",
            pools,
            role="reference",
            family="reference",
            **made_by,
        )
    for i in range(innocents):
        family = ("independent", "stranger")[i % 2]
        write(at, f"innocent-{i:02d}", like.format(seed=2000 + i), pools, role="innocent", family=family)
    for i in range(3):
        write(
            at,
            f"copy-{i}",
            f"near {seeds[swapped]} {i}",
            pools,
            role="thief",
            victim=VICTIM,
            family="fine-tuned",
            parent=f"candidate-{swapped:02d}",
        )
    write(
        at,
        "asker",
        f"near {seeds[swapped]} 9",
        pools,
        role="thief",
        victim=VICTIM,
        family="distilled",
        parent=f"candidate-{swapped:02d}",
        attack="distilled",
        labels="soft",
        asked_attacker=list(range(0, 40)),
        queries=40,
    )
    return folder


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder, which no test may change."""
    return collection(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def owner(squares: Path) -> Owner:
    return owner_of(squares)


def owner_of(folder: Path) -> Owner:
    """The only one whose models are there."""
    (found,), _ = owners(read(folder), "dev")
    return found


def write(at: Path, id_: str, architecture: str, pools: dict[str, Tensor], **fields: Any) -> Path:
    """One model's files; its fields are blank unless given."""
    folder = at / "models" / id_
    folder.mkdir(parents=True, exist_ok=True)
    model = made(architecture)
    with torch.no_grad():
        answers = {n: model(x.float() / 255).softmax(1).numpy() for n, x in pools.items()}
    np.savez(folder / "answers.npz", **answers)
    blank: dict[str, Any] = dict.fromkeys(
        ("victim", "procedure", "parent", "attack", "labels", "interface"), ""
    )
    about = blank | {
        "id": id_,
        "dataset": at.name,
        "set": "dev",
        "family": "",
        "architecture": architecture,
        "asked_attacker": [],
        "queries": 0,
        "seed": 0,
        "accuracy": 0.9,
        "agreement": 0.9 if fields["role"] == "thief" else None,
        "recovery": 1.0 if fields["role"] == "thief" else None,
        "seconds": 1.5,
    }
    (folder / "about.json").write_text(json.dumps(about | fields))
    return folder


def change(folder: Path, id_: str, **fields: Any) -> None:
    """Other values in a model's ``about.json``; None takes one out."""
    path = folder / "squares" / "models" / id_ / "about.json"
    about = json.loads(path.read_text()) | fields
    path.write_text(
        json.dumps({k: v for k, v in about.items() if fields.get(k, v) is not None or k not in fields})
    )


def change_arrays(path: Path, **arrays: Any) -> None:
    """Other arrays in an .npz file; None takes one out."""
    with np.load(path) as file:
        kept = {n: file[n] for n in file.files} | arrays
    np.savez(path, **{n: a for n, a in kept.items() if a is not None})


def _images(count: int, seed: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
