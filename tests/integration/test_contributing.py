"""CONTRIBUTING.md is true: its examples are added to a copy of the package as it says, one
file and one row each, and run there."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.places import ROOT
from tests.support.zoos import TINY
from zooaudit.recipes.write import to_toml

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
pytestmark = pytest.mark.processes


@dataclass(frozen=True)
class Example:
    """One row of the page's table, and the file that stands in its section."""

    file: str
    row: str
    registry: str
    where: str
    content: str

    def add(self, root: Path) -> None:
        """As the page says."""
        (root / self.file).write_text(self.content)
        module = self.file.removesuffix(".py").replace("/", ".")
        (name,) = re.findall(r"^(?:def|class) (\w+)", self.content, re.MULTILINE)
        path = root / self.where
        text = path.read_text()
        text, rows = re.subn(
            rf"^({self.registry}\b.* = [{{(]\n)", rf"\1    {self.row}\n", text, flags=re.MULTILINE
        )
        text, imports = re.subn(
            r"^from zooaudit",
            f"from {module} import {name}\nfrom zooaudit",
            text,
            count=1,
            flags=re.MULTILINE,
        )
        assert (rows, imports) == (1, 1), f"{self.registry} is not where the page says"
        path.write_text(text)


def examples() -> dict[str, Example]:
    rows = re.findall(r"^\| ([a-z ]+) \| `([^`]+)` \| `(.+)` \| `(\w+)` in `([^`]+)` \|$", PAGE, re.MULTILINE)
    found = {}
    for what, file, row, registry, where in rows:
        section = re.split(rf"^### An? {what}$", PAGE, flags=re.MULTILINE)[1]
        content = re.search(r"```python\n(.*?)```", section, re.DOTALL)
        assert content, what
        found[what] = Example(file, row, registry, where, content[1])
    return found


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all that the page adds."""
    root = tmp_path_factory.mktemp("extended")
    for name in ("zooaudit", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tiny.toml").write_text(to_toml(TINY))
    for example in examples().values():
        example.add(root)
    config = root / "zooaudit" / "config" / "basics.py"
    text, named = re.subn(
        r"^Attack = Literal\[", 'Attack = Literal["once", ', config.read_text(), flags=re.MULTILINE
    )
    assert named == 1
    config.write_text(text)
    return root


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def test_there_is_one_of_each() -> None:
    assert list(examples()) == ["attack", "suspect kind", "statistic", "baseline"]


def test_the_additions_pass_the_linter(extended: Path) -> None:
    """Sorted imports aside, which ``make format`` sees to."""
    shutil.copy(ROOT / "pyproject.toml", extended)
    for tool in (
        ["ruff", "check", "--fix", "zooaudit"],
        ["ruff", "format", "--check", *(e.file for e in examples().values())],
    ):
        done = python(extended, "-m", *tool)
        assert done.returncode == 0, done.stdout + done.stderr


def test_thieves_use_the_attack(extended: Path, tmp_path: Path) -> None:
    zoo = [
        "-m",
        "zooaudit",
        "zoo",
        "--farm",
        "serial",
        "--recipe",
        "tiny.toml",
        "--set",
        "zoo.extraction.attack=once",
        "--json",
        "--store",
    ]
    done = python(extended, *zoo, str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    thieves = [m for m in json.loads(done.stdout)["models"] if m["model"].startswith("piracy")]
    assert thieves and all(m["status"] == "learnt" for m in thieves)
    (tmp_path / "tiny.toml").write_text(to_toml(TINY))
    refused = subprocess.run(
        [sys.executable, *zoo, "store"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and 'attack is "once"' in refused.stderr


LOADED = """
import numpy as np, torch
from pathlib import Path
from zooaudit.suspects.load import load_model
found = load_model(Path("model.npz"), None, (1, 8, 8), 10)
images = torch.rand(5, 1, 8, 8)
held = np.load("model.npz")
expected = images.flatten(1).numpy() @ held["weights"].T + held["bias"]
assert np.allclose(found(images).detach(), expected, atol=1e-5)
"""


def test_a_suspect_of_the_new_kind_is_read(extended: Path) -> None:
    drawn = np.random.default_rng(0)
    np.savez(
        extended / "model.npz",
        weights=drawn.normal(size=(10, 64)).astype("f4"),
        bias=drawn.normal(size=10).astype("f4"),
    )
    done = python(extended, "-c", LOADED)
    assert done.returncode == 0, done.stderr
    np.savez(extended / "model.npz", weights=np.zeros(3))
    assert "is not a linear model" in python(extended, "-c", LOADED).stderr


RANKED = """
from tests.support.makers import make_twin_test, near
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.stored import described, read, tensors_of
plain, other = make_twin_test(), make_twin_test(statistic="unscaled")
answers = TorchBlackBox(near(0, 1), 4).ask(plain.questions())
again = read(tensors_of(other), described(other))
statistics = [test.judge(answers).verdict.statistics for test in (plain, other, again)]
assert statistics[1] == statistics[2] != statistics[0]
assert other.judge(answers).verdict.rank == 1
"""


def test_candidates_are_ranked_by_the_statistic_that_a_recipe_names(extended: Path, tmp_path: Path) -> None:
    done = python(extended, "-c", RANKED)
    assert done.returncode == 0, done.stderr
    audit = [
        "-m",
        "zooaudit",
        "audit",
        "--farm",
        "serial",
        "--recipe",
        "tiny.toml",
        "--set",
        "twin_test.statistic=unscaled",
        "--store",
    ]
    done = python(extended, *audit, str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    (kit,) = (tmp_path / "store" / "manifests" / "kit").glob("*.json")
    assert json.loads(kit.read_text())["meta"]["twin_test"]["statistic"] == "unscaled"
    (tmp_path / "tiny.toml").write_text(to_toml(TINY))
    refused = subprocess.run(
        [sys.executable, *audit, "new"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "statistic is 'unscaled'; expected one of cosine" in refused.stderr
    assert not (tmp_path / "new" / "manifests" / "model").exists(), "nothing is trained for it"


SCORED = """
import torch
from tests.support.makers import peer
from zooaudit.baselines.methods import METHODS, Crafted
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.data.images import to_unit
(method,) = (m for m in METHODS if m.name == "confidence")
images = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8)
own, other = (TorchBlackBox(peer(s), 4).ask(to_unit(images)) for s in (0, 1))
rows = method.rows(Crafted(peer(0), images, own.argmax(1), own))
itself, another = (method.score(own[rows], asked[rows], own.argmax(1)) for asked in (own, other))
assert itself == 0 > another
"""


def test_the_baseline_scores(extended: Path) -> None:
    done = python(extended, "-c", SCORED)
    assert done.returncode == 0, done.stderr


def test_pre_commit_runs_what_the_check_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert check
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    assert [hook["entry"] for hook in hooks] == check[1].replace("\t", "").replace(
        "$(PYTHON)", ".venv/bin/python"
    ).splitlines()


def test_the_markers_are_explained() -> None:
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    table = PAGE.partition("## Tests")[2].partition("\n## ")[0]
    for marker in markers:
        assert f"`{marker.partition(':')[0]}`" in table


def test_targets_that_the_page_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z]+)", PAGE, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(r"`((?:zooaudit|tests)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).exists() or path in {e.file for e in examples().values()}, path
