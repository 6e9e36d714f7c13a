"""The how-to pages, done as they say: every shell command of README.md and of the pages of support/howto.py
is run as it stands, with real inputs in the places that it names, or is listed here with the reason why it is
not.
Suspects end at their verdict.
"""

import importlib
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support import howto
from tests.support.howto import PAGES, READERS, SIDE, Command, Town, commands, here
from tests.support.howto_suspects import (
    answers,
    described,
    folder_of_theirs,
    normalised,
    of_the_page,
    onnx_as_it_is,
    onnx_background,
    onnx_bytes,
    onnx_signed,
    save_folder,
    theirs_package,
    timms,
    triton,
    with_background,
)
from zooaudit.data.reading import Reading, parse_sizing
from zooaudit.data.resolve import resolve

DIGITS = "tests/integration/test_tutorials.py"
ELSEWHERE = {
    "make audit": "minutes of training on Fashion-MNIST; tests/unit/test_cli.py audits the digits",
    "make test": "this suite",
    "make install": "makes an environment, as the one that this runs in",
    "make s3": "tests/integration/test_s3.py starts the same server",
    "sh scripts/make_venv.sh": "makes an environment, as the one that this runs in",
    "pip install": "installs",
    "python -m pytest": "this suite",
    "zooaudit doctor": "looks at the machine: tests/unit/test_cli.py, tests/integration/test_s3.py",
    "zooaudit audit --recipe fmnist-quick --store store --fallback digits": (
        "minutes of training on Fashion-MNIST"
    ),
    "python -m benchmarks.": "hours on models and data that are not here",
    "zooaudit study": "on a whole zoo: tests/unit/test_studies.py, tests/unit/test_study_command.py",
    "zooaudit sweep": "on a whole zoo: tests/unit/test_sweep.py",
    "zooaudit serve": "until Ctrl-C: tests/integration/test_serve_command.py",
    "KEY=": "sets a variable",
    "KIT=": "sets a variable",
    "curl": "tests/unit/test_api_docs.py runs a line for each route",
    "python ask.py": "tests/integration/test_serve.py runs the program",
    "python docs/mlserver/suspects.py": "tests/integration/test_mlserver.py serves such models",
    "python3 -m venv .venv-mlserver": "tests/integration/test_mlserver.py installs it",
    "(cd docs/mlserver": "tests/integration/test_mlserver.py starts it",
    "zooaudit audit --recipe digits --store store": "tests/support/finished.py",
    "zooaudit kit show --store store --kit f4b3": DIGITS,
    "zooaudit score --store store --kit f4b3": DIGITS,
    "zooaudit explain 9415": DIGITS,
    "export": "sets variables",
    "zooaudit audit --recipe digits --store s3:": "tests/integration/test_s3.py",
    "zooaudit report --store s3:": "tests/integration/test_s3.py",
    "zooaudit store copy --store s3:": "tests/integration/test_copy.py",
    "zooaudit audit --recipe mine.toml --store ./store": (
        "a whole zoo: tests/unit/test_recipe_command.py audits by such a recipe"
    ),
    "zooaudit audit --recipe fmnist-quick --set": (
        "minutes of training on Fashion-MNIST: tests/unit/test_recipe_files.py reads such settings"
    ),
    "zooaudit audit --recipe mine.toml --set zoo.references=24": (
        "a whole zoo: tests/unit/test_recipe_command.py audits by such a recipe"
    ),
    "zooaudit audit --recipe mine.toml --store store --data ./my-images --size 256": (
        "20 ResNet18: tests/unit/test_named_nets.py"
    ),
    "ray ": "tests/chaos/test_jobs.py, tests/unit/test_cluster.py",
    "zooaudit audit --recipe cifar10-small": "an hour on data that is not here: tests/unit/test_cifar.py",
    "zooaudit audit --recipe tinyimagenet-small": (
        "an hour on data that is not here: tests/unit/test_tiny_imagenet.py"
    ),
    "zooaudit evidence verify case.zip --store mine": (
        "trains twins and references anew: tests/unit/test_evidence_models.py"
    ),
}
"""How commands begin that are not run here, and why."""
RUN = [
    c for page in PAGES for c in commands(page) if not any(c.text.startswith(start) for start in ELSEWHERE)
]
OWN_AUDIT = next(
    c.text for c in RUN if c.page == "docs/your-model.md" and c.text.startswith("zooaudit audit")
)
MODELS_AUDIT = next(c.text for c in RUN if c.page == "docs/models.md" and c.text.startswith("zooaudit audit"))


# Towns


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


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Where the pages of READERS are read: a net of the owner's own, images of one size."""
    folder = tmp_path_factory.mktemp("readme")
    howto.photographs(folder / "my-images", all_sizes=False)
    howto.package(
        folder,
        "my_package",
        nets=howto.PLAIN.replace("WIDTH", "128"),
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
    town.done(OWN_AUDIT)
    return town


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Where the other pages are read: a folder of transformers, JPEGs of all sizes in
    folders called by numbers."""
    folder = tmp_path_factory.mktemp("owners")
    howto.photographs(folder / "my-images", all_sizes=True)
    (folder / "pets").symlink_to("my-images")
    howto.package(folder, "my_package", training=howto.VIT)
    places = {
        "--recipe mine.toml": "--recipe smaller.toml",
        "--size 224": f"--size {SIDE}",
        "--size 64": f"--size {SIDE}",
    }
    town = made(folder, places, {"4f2a": kit_of})
    with here(folder):
        save_folder(trained("my_package.training", "train"), Path("my-vit"))
    town.done(MODELS_AUDIT)
    return town


def made(folder: Path, places: dict[str, str], known: dict[str, Callable[[Town], str]]) -> Town:
    (folder / "smaller.toml").write_text(howto.SMALLER)
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


# The commands


@dataclass(frozen=True)
class Scene:
    """A command with something in the places that it names.

    Attributes:
        put: makes the suspect, stolen or not; what it gives, if anything, are places known only now.
        stolen, innocent: how the verdict on such a one begins; "" if there is none.
    """

    put: Callable[[Town, bool], Any]
    stolen: str = "stolen: p 0.05"
    innocent: str = "not shown: "


SCENES = {
    "README.md": {
        "theirs.safetensors --factory their_package.nets:make": Scene(theirs_package),
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
    },
    "docs/score.md": {
        "theirs.safetensors --factory their_package.nets:make": Scene(theirs_package),
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
        "--suspect theirs.toml": Scene(of_the_page),
        "--answers answers.csv": Scene(answers),
    },
    "docs/models.md": {
        "--suspect ./their-convnext": Scene(folder_of_theirs),
        "--factory timm:resnet18 --contract": Scene(timms, stolen=""),
        "--suspect theirs.onnx": Scene(onnx_as_it_is),
        "--contract input.range=[-1,1]": Scene(onnx_signed),
        "--contract input.range=[0,255]": Scene(onnx_bytes),
        "--contract output.name=probabilities": Scene(onnx_background),
    },
    "docs/data.md": {
        "--suspect ./theirs": Scene(lambda town, stolen: folder_of_theirs(town, stolen, "theirs"))
    },
    "docs/apis.md": {
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
        "--access label": Scene(described),
        "--contract input.mean=": Scene(normalised),
        "--contract 'classes.names=": Scene(with_background),
    },
}
"""By the page and by words of the command; the longest words that a command has are its own."""


def scene_of(command: Command) -> Scene | None:
    scenes = SCENES.get(command.page, {})
    found = [words for words in scenes if words in command.text]
    return scenes[max(found, key=len)] if found else None


SCORES = [c for c in RUN if c.text.startswith("zooaudit score")]
OTHERS = [c for c in RUN if c not in SCORES]


@pytest.fixture
def town(request: pytest.FixtureRequest) -> Town:
    """Where a page's commands are run."""
    page = request.node.callspec.params["command"].page
    found: Town = request.getfixturevalue("readers" if page in READERS else "owners")
    return found


def test_every_command_is_run_or_has_a_reason_why_not() -> None:
    rows = [c for page in PAGES for c in commands(page)]
    assert len(rows) > 60 and len(RUN) > 25
    for start in ELSEWHERE:
        assert any(c.text.startswith(start) for c in rows), f"no page has {start!r} any more"
    for command in SCORES:
        assert scene_of(command), f"{command}: say in SCENES what is in its places"
    for page, scenes in SCENES.items():
        for words in scenes:
            assert any(words in c.text and c.page == page for c in SCORES), (
                f"{page} has no {words!r} any more"
            )


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_a_command_works_as_it_stands(command: Command, town: Town) -> None:
    if "case.zip" in command.text and "verify" in command.text:
        town.done(next(c.text for c in OTHERS if "evidence export" in c.text))
    if "--out mine.toml" in command.text:  # of another page's reader
        (town.folder / "mine.toml").unlink(missing_ok=True)
    elif "mine.toml" in town.filled(command.text) and not (town.folder / "mine.toml").is_file():
        town.done(next(c.text for c in OTHERS if c.page == command.page and "--out mine.toml" in c.text))
    assert town.done(command.text).out.strip()


def test_what_a_page_writes_down_is_what_recipe_new_says(owners: Town) -> None:
    (made,) = (
        c.text for c in OTHERS if c.page == "docs/models.md" and c.text.startswith("zooaudit recipe new")
    )
    (owners.folder / "mine.toml").unlink(missing_ok=True)
    (said,) = re.findall(r"next: (.*)", owners.run(made).out)
    (written,) = (owners.filled(c.text) for c in OTHERS if c.text == MODELS_AUDIT)
    output, shown = (
        sorted(re.findall(r"--\S+ \S+", text.replace("./store", "store").replace("./my-vit", "my-vit")))
        for text in (said, written)
    )
    assert set(shown) - {"--recipe smaller.toml"} == set(output) - {
        "--recipe mine.toml",
        "--factory hf:my-vit",
    }


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ("--size 224", "expected one size: --size HEIGHTxWIDTH"),
        ("--classes ./my-vit/config.json", "expected one order: --classes my-vit/config.json"),
    ],
)
def test_a_step_that_is_left_out_is_named(left_out: str, says: str, owners: Town) -> None:
    done = owners.run(MODELS_AUDIT.replace(left_out, ""))
    assert done.code == 2 and says in done.err and "\n" not in done.err.strip().rpartition("zooaudit: ")[2], (
        done.err
    )


def test_a_graph_of_bytes_in_another_order_is_not_judged_until_that_is_said(owners: Town) -> None:
    score = "zooaudit score --store store --kit 4f2a --suspect theirs.onnx"
    with onnx_bytes(owners, True):
        done = owners.run(score)
        assert done.out.startswith("cannot tell: it is right on"), done.out
        flags = re.search(r"with (--contract 'input.range=\[0,255\]' 'classes.columns=.*?') on", done.out)
        assert flags and owners.run(f"{score} {flags[1]}").out.startswith("stolen: p 0.05")


def verdicts() -> list[Any]:
    scenes = [(c, scene) for c in SCORES if (scene := scene_of(c))]
    each = [
        (c, stolen, expected)
        for c, scene in scenes
        for stolen, expected in ((True, scene.stolen), (False, scene.innocent))
    ]
    return [
        pytest.param(*one, id=f"{one[0]}, {'stolen' if one[1] else 'innocent'}") for one in each if one[2]
    ]


@pytest.mark.parametrize(("command", "stolen", "expected"), verdicts())
def test_a_suspect_ends_at_its_verdict(command: Command, stolen: bool, expected: str, town: Town) -> None:
    scene = scene_of(command)
    assert scene is not None
    with ExitStack() as stack:
        put = scene.put(town, stolen)
        text = command.text
        if put is not None:
            for place, content in stack.enter_context(put).items():
                text = text.replace(place, content)
        # Another suspect may be given the port of one before.
        shutil.rmtree(town.folder / "ledgers", ignore_errors=True)
        done = town.run(text)
    assert done.code == 0, done.err
    assert done.out.startswith(expected), done.out
