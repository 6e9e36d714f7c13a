"""uv.lock: the tested set, with hashes, as the image installs it, its bill of materials
lists it, and `uv run` takes it."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from tests.support.manifests import PINNED, stages
from tests.support.places import ROOT
from tests.support.requirements import PROJECT, TARGETS, TORCHS_OWN


def lock() -> dict[str, dict[str, Any]]:
    """Packages of uv.lock by name."""
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert len({p["name"] for p in packages}) == len(packages), "one version of each"
    return {p["name"]: p for p in packages}


def test_lock_is_of_the_tested_set_and_of_these_requirements() -> None:
    """`make lock` writes it anew."""
    packages = lock()
    assert {name: packages[name]["version"] for name in PINNED if name in packages} == PINNED
    others = packages.keys() - PINNED.keys() - {"zooaudit"}
    bench = {canonicalize_name(Requirement(r).name) for r in PROJECT["optional-dependencies"]["bench"]}
    elsewhere = {"appnope", "httpx2-jsfetch", "truststore", "tzdata"}  # for Windows and others
    assert {n for n in others if not n.startswith(TORCHS_OWN)} <= bench | elsewhere
    asked = [
        Requirement(r)
        for r in PROJECT["dependencies"] + [r for e in PROJECT["optional-dependencies"].values() for r in e]
    ]
    assert {(canonicalize_name(r.name), tuple(sorted(r.extras)), r.specifier) for r in asked} == {
        (d["name"], tuple(sorted(d.get("extras", []))), SpecifierSet(d.get("specifier", "")))
        for d in packages["zooaudit"]["metadata"]["requires-dist"]
    }
    assert {p["source"].get("registry") for name, p in packages.items() if name != "zooaudit"} == {
        "https://pypi.org/simple"
    }


def test_every_file_of_the_lock_has_a_hash() -> None:
    for name, package in lock().items():
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert name == "zooaudit" or files
        for file in files:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) and file["url"].startswith(
                "https://files.pythonhosted.org/"
            )


def test_image_installs_the_uv_of_the_lock_by_hash() -> None:
    (pinned,) = [run for run in stages()["requirements"].all("RUN") if "uv.txt" in run]
    version, *hashes = re.findall(r"uv==([\w.]+)|(sha256:\w+)", pinned)
    assert version[0] == PINNED["uv"]
    linux = {
        w["hash"]
        for w in lock()["uv"]["wheels"]
        if "manylinux" in w["url"] and re.search("x86_64|aarch64", w["url"])
    }
    assert len(hashes) == 2 and {h for _, h in hashes} <= linux


def uv(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
    command = [find_uv_bin(), "--no-config", "--offline", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@TARGETS
def test_what_the_image_installs_is_what_the_lock_says(target: str, tmp_path: Path) -> None:
    """The Dockerfile's own commands, on a copy of what it copies."""
    exports = [run for run in stages()["requirements"].all("RUN") if "uv export" in run]
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {"PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    subprocess.run(["sh", "-c", exports[0]], cwd=tmp_path, env=environment, check=True)
    found = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (tmp_path / f"{target}.txt").read_text(), re.MULTILINE))
    assert {"ray", "fastapi", "sympy", "setuptools"} <= found.keys()
    assert all(PINNED.get(canonicalize_name(name), version) == version for name, version in found.items())
    torchs = {n for n in found if n in {"torch", "torchvision"} or n.startswith(TORCHS_OWN)}
    assert bool(torchs) == (target == "cuda"), torchs


def test_bill_of_materials_lists_the_images_packages_with_their_hashes() -> None:
    command = re.search(
        r"^sbom:.*\n\t\.venv/bin/uv (.*) --output-file sbom.json$",
        (ROOT / "Makefile").read_text(),
        re.MULTILINE,
    )
    assert command
    bill = json.loads(uv(*command[1].split()))
    assert bill["bomFormat"] == "CycloneDX"
    found = {c["name"]: c for c in bill["components"]}
    assert {"ray", "torch", "fastapi"} <= found.keys() and "pytest" not in found
    assert all(c["externalReferences"][0]["hashes"] for c in found.values())


def test_uv_runs_it_from_a_clone() -> None:
    """`uv run --frozen zooaudit` would fetch gigabytes; what it would install is asked of uv, offline."""
    wanted = uv("export", "--quiet", "--frozen", "--no-hashes", "--no-header")
    assert "-e ." in wanted.splitlines()
    assert PROJECT["scripts"]["zooaudit"] == "zooaudit.__main__:run"
    uv("lock", "--check")
