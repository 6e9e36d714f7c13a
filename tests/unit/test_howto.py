"""The how-to pages, done as they say: every shell command of README.md and of the pages of support/howto.py
is run as it stands, with real inputs in the places that it names, or is listed here with the reason why it is
not.
Suspects end at their verdict.
"""

import re
import shutil
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.howto import PAGES, READERS, Command, Town, commands
from tests.support.howto_scenes import SCENES, scene_of
from tests.support.howto_suspects import (
    onnx_bytes,
)
from tests.support.towns import owners_town, readers_town

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


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Town:
    town = readers_town(tmp_path_factory.mktemp("readme"))
    town.done(OWN_AUDIT)
    return town


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Town:
    town = owners_town(tmp_path_factory.mktemp("owners"))
    town.done(MODELS_AUDIT)
    return town


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
