"""zooaudit as ``pip install`` leaves it: its own wheel in a fresh environment, and of the packages those that
it and its extras ask for."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from tests.support.places import ROOT
from tests.support.requirements import PROJECT, installed_by

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")


def uv(*arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
    subprocess.run(
        [find_uv_bin(), "--no-config", "--offline", "--quiet", *arguments], env=environment, check=True
    )


def built(folder: Path) -> tuple[Path, Path]:
    """A source archive of this checkout, and the wheel that is made from it; nothing is
    left in the checkout."""
    source, dist = folder / "source", folder / "dist"
    shutil.copytree(ROOT / "zooaudit", source / "zooaudit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    uv("build", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(dist), str(source))
    (archive,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return archive, wheel


@dataclass(frozen=True)
class Installed:
    """An environment with zooaudit in it."""

    folder: Path

    def run(self, *command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with more variables, in a folder that has
        nothing to do with the checkout."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | more
        program = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def installed(wheel: Path, folder: Path, *extras: str) -> Installed:
    """The wheel, what it asks for and what these extras ask for. Nothing is fetched: packages are linked to
    where the tests have them."""
    venv.create(folder, with_pip=False)
    uv("pip", "install", "--no-deps", "--python", str(folder / "bin" / "python"), str(wheel))
    asked = [
        *PROJECT["dependencies"],
        *(line for extra in extras for line in PROJECT["optional-dependencies"][extra]),
    ]
    (site,) = folder.glob("lib/python*/site-packages")
    for name in installed_by(asked):
        for top in _tops(importlib.metadata.distribution(name)):
            if not (site / top.name).exists():
                (site / top.name).symlink_to(top)
    return Installed(folder)


def _tops(package: importlib.metadata.Distribution) -> Iterable[Path]:
    """The folders and files of a package at the top of site-packages."""
    names = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
    return (Path(str(package.locate_file(name))) for name in sorted(names))
