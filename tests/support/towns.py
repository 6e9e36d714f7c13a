"""The folders in which the how-to pages are read, with what a page's reader has there."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support import howto_owners
from tests.support.howto import Town, here
from tests.support.howto_owners import SIDE
from tests.support.howto_suspects import (
    save_folder,
    theirs_package,
)
from zooaudit.data.reading import Reading, parse_sizing
from zooaudit.data.resolve import resolve


def kit_of(town: Town) -> str:
    (line,) = town.run("zooaudit kit --store store").out.splitlines()
    return line.split()[0]


def evidence_of(town: Town) -> str:
    theirs_package(town, stolen=True)
    said = town.done(
        "zooaudit score --store store --kit 4f2a --suspect theirs.safetensors --factory"
        " their_package.nets:make"
    )
    found = re.search(r"evidence (\S+)", said.out)
    assert found
    return found[1]


def commitment_of(town: Town) -> str:
    found = re.search(
        r"commitment\W+([0-9a-f]{64})", town.run("zooaudit kit commit --store store --kit 4f2a").out
    )
    assert found
    return found[1]


def readers_town(folder: Path) -> Town:
    """Where the pages of READERS are read: a net of the owner's own, images of one size."""
    howto_owners.photographs(folder / "my-images", all_sizes=False)
    howto_owners.package(
        folder,
        "my_package",
        nets=howto_owners.PLAIN.replace("WIDTH", "128"),
        training="from my_package.nets import train\n",
    )
    places = {
        "--recipe fmnist-quick --run": "--recipe smaller.toml --run",
        "1000 --cpus": "200 --cpus",
        "mynet:": "my_package.nets:",
    }
    known = {"4f2a": kit_of, "1fe0": evidence_of, "a25f2d60": evidence_of, "5e8f...": commitment_of}
    town = made(folder, places, known)
    with here(folder):
        save_file(trained("my_package.training", "train").state_dict(), "mine.safetensors")
    return town


def owners_town(folder: Path) -> Town:
    """Where the other pages are read: a folder of transformers, JPEGs of all sizes in
    folders called by numbers."""
    howto_owners.photographs(folder / "my-images", all_sizes=True)
    (folder / "pets").symlink_to("my-images")
    howto_owners.package(folder, "my_package", training=howto_owners.VIT)
    places = {
        "--recipe mine.toml": "--recipe smaller.toml",
        "--size 224": f"--size {SIDE}",
        "--size 64": f"--size {SIDE}",
    }
    town = made(folder, places, {"4f2a": kit_of})
    with here(folder):
        save_folder(trained("my_package.training", "train"), Path("my-vit"))
    return town


def made(folder: Path, places: dict[str, str], known: dict[str, Callable[[Town], str]]) -> Town:
    (folder / "smaller.toml").write_text(howto_owners.SMALLER)
    return Town(folder, places, known)


def trained(module: str, function: str) -> nn.Module:
    """The owner's model, by the owner's code, on the images as the owner has them."""
    images, labels = read_images()
    found: nn.Module = getattr(importlib.import_module(module), function)(images, labels, seed=7)
    return found


def read_images() -> tuple[Tensor, Tensor]:
    """The training images and labels of ``my-images``, in natural order."""
    sizing = parse_sizing(str(SIDE), "crop", None, "bilinear", True)
    data = resolve("x", Path("my-images"), reading=Reading(sizing=sizing, classes="natural"))
    assert isinstance(data.train.images, Tensor)
    return data.train.images, data.train.labels
