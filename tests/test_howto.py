"""The how-to pages, done as they say: every shell command of README.md, docs/models.md, docs/data.md and docs/apis.md is run as it stands,
with real inputs in the places that it names, or is listed here with the reason why it is not. Suspects end at their verdict."""

import base64
import importlib
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests import howto
from tests.howto import NAMES, PAGES, SIDE, Command, InRange, Town, block, commands, digits, here, noisy
from tests.strangers import read_png
from tests.tritons import TYPES, Triton, over_http
from zooaudit.data.reading import Reading, parse_sizing
from zooaudit.data.resolve import resolve

ELSEWHERE = {
    "make audit": "minutes of training on Fashion-MNIST; tests/test_cli.py audits the digits",
    "make test": "this suite",
    "make s3": "tests/test_s3.py starts the same server",
    "sh scripts/make_venv.sh": "makes an environment, as the one that this runs in",
    "pip install": "installs",
    "python -m pytest": "this suite",
    "zooaudit doctor": "looks at the machine and its store: tests/test_cli.py, tests/test_s3.py",
    "zooaudit audit --recipe fmnist-quick --store store --fallback digits": "minutes of training on Fashion-MNIST",
    "python -m benchmarks.": "hours on models and data that are not here",
    "zooaudit study": "on a whole zoo: tests/test_studies.py, tests/test_study_rules.py",
    "zooaudit sweep": "on a whole zoo: tests/test_sweep.py",
    "zooaudit serve": "until Ctrl-C: tests/test_serve_command.py",
    "KEY=": "sets a variable",
    "KIT=": "sets a variable",
    "curl": "tests/test_api_docs.py runs a line for each route",
    "python ask.py": "tests/test_serve.py runs the program",
    "python docs/mlserver/suspects.py": "tests/test_mlserver.py serves such models",
    "python3 -m venv .venv-mlserver": "tests/test_mlserver.py installs it",
    "(cd docs/mlserver": "tests/test_mlserver.py starts it",
    "zooaudit audit --recipe digits --store store": "tests/finished.py",
    "export": "sets variables",
    "zooaudit audit --recipe digits --store s3:": "tests/test_s3.py",
    "zooaudit report --store s3:": "tests/test_s3.py",
    "zooaudit store copy --store s3:": "tests/test_copy.py",
    "zooaudit audit --recipe mine.toml --set zoo.references=24": "a whole zoo: tests/test_recipe_making.py audits by such a recipe",
    "zooaudit audit --recipe mine.toml --store store --data ./my-images --size 256": "20 ResNet18: tests/test_named_nets.py",
    "ray ": "tests/test_jobs.py, tests/test_cluster.py",
    "zooaudit audit --recipe cifar10-small": "an hour on data that is not here: tests/test_cifar.py",
    "zooaudit audit --recipe tinyimagenet-small": "an hour on data that is not here: tests/test_tiny_imagenet.py",
    "zooaudit evidence verify case.zip --store mine": "trains twins and references anew: tests/test_evidence_models.py",
}
"""How commands begin that are not run here, and why."""
RUN = [c for page in PAGES for c in commands(page) if not any(c.text.startswith(start) for start in ELSEWHERE)]
README_AUDIT = next(c.text for c in RUN if c.page == "README.md" and c.text.startswith("zooaudit audit"))
MODELS_AUDIT = next(c.text for c in RUN if c.page == "docs/models.md" and c.text.startswith("zooaudit audit"))


# Towns


def kit_of(town: Town) -> str:
    (line,) = town.run("zooaudit kit --store store").out.splitlines()
    return line.split()[0]


def evidence_of(town: Town) -> str:
    theirs_package(town, stolen=True)
    said = town.done("zooaudit score --store store --kit 4f2a --suspect theirs.safetensors --factory their_package.nets:make")
    found = re.search(r"evidence (\S+)", said.out)
    assert found
    return found[1]


def commitment_of(town: Town) -> str:
    found = re.search(r"commitment\W+([0-9a-f]{64})", town.run("zooaudit kit commit --store store --kit 4f2a").out)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Where README.md is read: a net of the owner's own, images of one size."""
    folder = tmp_path_factory.mktemp("readme")
    howto.photographs(folder / "my-images", all_sizes=False)
    howto.package(folder, "my_package", nets=howto.PLAIN.replace("WIDTH", "128"), training="from my_package.nets import train\n")
    places = {"--recipe fmnist-quick --run": "--recipe smaller.toml --run", "1000 --cpus": "200 --cpus", "mynet:": "my_package.nets:"}
    known = {"4f2a": kit_of, "1fe0": evidence_of, "a25f2d60": evidence_of, "5e8f...": commitment_of}
    town = made(folder, places, known)
    with here(folder):
        save_file(trained("my_package.training", "train").state_dict(), "mine.safetensors")
    town.done(README_AUDIT)
    return town


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Where the other pages are read: a folder of transformers, JPEGs of all sizes in folders called by numbers."""
    folder = tmp_path_factory.mktemp("owners")
    howto.photographs(folder / "my-images", all_sizes=True)
    (folder / "pets").symlink_to("my-images")
    howto.package(folder, "my_package", training=howto.VIT)
    places = {"--recipe mine.toml": "--recipe smaller.toml", "--size 224": f"--size {SIDE}", "--size 64": f"--size {SIDE}"}
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


def save_folder(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.ViTImageProcessor(size=size, image_mean=[0.5], image_std=[0.5]).save_pretrained(folder)


# What suspects are


def theirs(town: Town, stolen: bool) -> nn.Module:
    """A suspect for images ``[n, 1, 16, 16]`` in [0, 1], in the order of classes in which the victim was trained."""
    if not stolen:
        return InRange(independent(), 1, 0).eval()
    with here(town.folder):
        if Path("my-vit").is_dir():
            return InRange(noisy(transformers.AutoModelForImageClassification.from_pretrained("my-vit"))).eval()
        return InRange(copied(), 1, 0).eval()


def copied() -> nn.Module:
    model: nn.Module = importlib.import_module("my_package.nets").make()
    model.load_state_dict(load_file("mine.safetensors"))
    return noisy(model)


def independent() -> nn.Module:
    """Of somebody who had the task's images, and never the victim."""
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        model = nn.Sequential(nn.Conv2d(1, 24, 5, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 10))
    return read_out(model, model[4], lambda images: model(images))


def own_images() -> tuple[Tensor, Tensor]:
    images, labels = digits()["train"]
    return nn.functional.interpolate(images[:, None].float(), (SIDE, SIDE), mode="bilinear"), labels


def read_out(model: nn.Module, head: nn.Module, give: Callable[[Tensor], object]) -> nn.Module:
    made: dict[str, Any] = {}
    exec(howto.READOUT, made)
    found: nn.Module = made["read_out"](model, head, *own_images(), lambda _, images: give(images))
    return found.requires_grad_(False)


def theirs_package(town: Town, stolen: bool) -> None:
    """``theirs.safetensors`` and what builds it."""
    net = "from torch import nn\n\ndef make():\n    return " + (
        "nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))\n" if stolen
        else "nn.Sequential(nn.Conv2d(1, 24, 5, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 10))\n"
    )  # fmt: skip
    if not (town.folder / "their_package").is_dir():
        howto.package(town.folder, "their_package")
    (town.folder / "their_package" / "nets.py").write_text(net)
    model = theirs(town, stolen)
    save_file({k.removeprefix("inner."): v.contiguous() for k, v in model.state_dict().items()}, town.folder / "theirs.safetensors")


class Columns(nn.Module):
    """Classes in another order, or among more: probabilities, and maybe something else beside them."""

    def __init__(
        self, inner: nn.Module, order: list[int], nhwc: bool = False, scale: float = 1, shift: float = 0, more: bool = False,
        logits: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inner, self.order, self.nhwc, self.scale, self.shift = inner, order, nhwc, scale, shift
        self.more, self.logits = more, logits

    def forward(self, images: Tensor) -> Any:
        images = images.permute(0, 3, 1, 2) if self.nhwc else images
        told = self.inner((images - self.shift) / self.scale)
        wide = torch.cat([told, told.mean(1, keepdim=True) - 2], 1) if len(self.order) > 10 else told
        scores = wide[:, self.order]
        return (scores.softmax(1), scores) if self.more else scores if self.logits else scores.softmax(1)


def graph(model: nn.Module, path: Path, nhwc: bool = False, names: tuple[str, ...] = ("p",)) -> None:
    shape = (2, SIDE, SIDE, 1) if nhwc else (2, 1, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.zeros(shape),), str(path), dynamo=False, input_names=["x"], output_names=list(names),
            dynamic_axes={name: {0: "n"} for name in ("x", *names)}, opset_version=17,
        )  # fmt: skip


ODD = [3, 0, 9, 1, 2, 8, 4, 5, 7, 6]
"""The class in each column of another team's."""
BACKGROUND = [10, *range(10)]


def onnx_as_it_is(town: Town, stolen: bool) -> None:
    graph(Columns(theirs(town, stolen), list(range(10)), nhwc=True), town.folder / "theirs.onnx", nhwc=True)


def onnx_signed(town: Town, stolen: bool) -> None:
    graph(Columns(theirs(town, stolen), list(range(10)), scale=2, shift=-1), town.folder / "theirs.onnx")


@contextmanager
def onnx_bytes(town: Town, stolen: bool) -> Any:
    """Channels last, 0 to 255, classes in an order of its own."""
    graph(Columns(theirs(town, stolen), ODD, nhwc=True, scale=255), town.folder / "theirs.onnx", nhwc=True)
    yield {'"dog","cat","bird"': ",".join(f'"{NAMES[i]}"' for i in ODD)}


def onnx_background(town: Town, stolen: bool) -> None:
    model = Columns(theirs(town, stolen), BACKGROUND, more=True)
    graph(model, town.folder / "theirs.onnx", names=("probabilities", "scores"))


def folder_of_theirs(town: Town, stolen: bool, name: str = "their-convnext") -> None:
    """A thief's folder names the classes in its own order; an innocent's is another net."""
    if stolen:
        with here(town.folder):
            model = noisy(transformers.AutoModelForImageClassification.from_pretrained("my-vit"))
        with torch.no_grad():
            model.classifier.weight.copy_(model.classifier.weight[ODD])
            model.classifier.bias.copy_(model.classifier.bias[ODD])
        names = [NAMES[i] for i in ODD]
    else:
        with torch.random.fork_rng([]):
            torch.manual_seed(5)
            config = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[32, 128], depths=[1, 1], layer_type="basic", num_channels=1)
            config.num_labels = 10
            model = transformers.ResNetForImageClassification(config)
        read_out(model, model.classifier[1], lambda images: model(images * 2 - 1))
        names = list(NAMES)
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    save_folder(model, town.folder / name)


def timms(town: Town, stolen: bool) -> None:
    """An innocent ResNet18; nobody steals so much in so little time."""
    assert not stolen
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = timm.create_model("resnet18", num_classes=10, in_chans=1)
    read_out(model, model.fc, lambda given: model(nn.functional.interpolate(given, (28, 28), mode="bilinear") * 2 - 1))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, town.folder / "theirs.safetensors")


class Served(Triton):
    """A Triton of images of any size and layout."""

    def read(self, shape: list[int], values: Any) -> Tensor:
        flat = np.frombuffer(values, TYPES[self.datatype]) if isinstance(values, bytes) else np.array(values)
        given = torch.from_numpy(flat.reshape(shape).astype(np.float64)).float() / self.divide + self.shift
        return given.permute(0, 3, 1, 2) if shape[-1] in (1, 3) else given


@contextmanager
def triton(town: Town, stolen: bool) -> Any:
    """Bytes, channels last, eight images at once."""
    serving = Served(theirs(town, stolen), "UINT8", [-1, SIDE, SIDE, 1], 255.0, most=8, outputs=[("p", "FP32", [-1, 10])])
    with over_http(serving) as url:
        yield {"https://models.example/v2/models/shirts/infer": url}
    assert serving.batches and max(serving.batches) <= 8


@contextmanager
def described(town: Town, stolen: bool, model: nn.Module | None = None, shape: tuple[int, ...] = (1, SIDE, SIDE)) -> Any:
    """``theirs.toml`` of a v2 server."""
    serving = Served(model or theirs(town, stolen), shape=[-1, *shape], most=16, outputs=[("p", "FP32", [-1, 10])])
    if model is not None and isinstance(model, Columns):
        serving.outputs = [("p", "FP32", [-1, len(model.order)])]
    with over_http(serving) as url:
        (town.folder / "theirs.toml").write_text(block("docs/apis.md", 'url = "https://models.example/v2/models/shirts/infer"').replace(
            "https://models.example/v2/models/shirts/infer", url))  # fmt: skip
        yield {}


class Normalised(nn.Module):
    """It takes colours of 20 x 20, by the usual mean and standard deviation."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        told: Tensor = self.inner(nn.functional.interpolate((images * std + mean).mean(1, keepdim=True), (SIDE, SIDE), mode="area"))
        return told


@contextmanager
def normalised(town: Town, stolen: bool) -> Any:
    with described(town, stolen, Normalised(theirs(town, stolen)), (3, 2 * SIDE, 2 * SIDE)):
        yield {"input.size=224": f"input.size={2 * SIDE}"}


@contextmanager
def with_background(town: Town, stolen: bool) -> Any:
    with described(town, stolen, Columns(theirs(town, stolen), BACKGROUND, logits=True)):
        yield {'"bag","ankle boot","coat","dress"': ",".join(f'"{name}"' for name in NAMES)}


@contextmanager
def of_the_readme(town: Town, stolen: bool) -> Any:
    """The README's description as it stands, but for address, names and pace; the service that it describes."""
    model, app = theirs(town, stolen), flask.Flask("theirs")

    @app.post("/classify")
    def classify() -> Any:
        assert flask.request.headers["Authorization"] == "Bearer a-key"
        images = torch.cat([read_png(base64.b64decode(one)) for one in flask.request.get_json()["images"]])
        rows = model(images).softmax(1).tolist()
        return {"results": [{"scores": {f"digit {n}": p for n, p in zip(NAMES, row, strict=True)}} for row in rows]}

    with howto.listening(app) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEIR_KEY", "a-key")
        text = (
            block("README.md", 'url = "https://api.example/classify"')
            .replace("https://api.example", url)
            .replace("rate = 20 ", "rate = 0 ")
        )
        names = ", ".join(f'"digit {n}"' for n in NAMES)
        (town.folder / "theirs.toml").write_text(text.replace('"tops", "trousers", "..."', names))
        yield {}


def answers(town: Town, stolen: bool) -> None:
    """What came back to the questions of ``queries.zip``."""
    town.done("zooaudit kit queries --store store --kit 4f2a --out queries.zip")
    model = theirs(town, stolen)
    with zipfile.ZipFile(town.folder / "queries.zip") as archive:
        images = torch.cat([read_png(archive.read(n)) for n in sorted(archive.namelist()) if n.endswith(".png")])
    rows = model(images).softmax(1).tolist()
    lines = [f'{i},"{json.dumps(row)}"' for i, row in enumerate(rows)]
    (town.folder / "answers.csv").write_text("query,probabilities\n" + "\n".join(lines) + "\n")


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
        "--suspect theirs.toml": Scene(of_the_readme),
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
    "docs/data.md": {"--suspect ./theirs": Scene(lambda town, stolen: folder_of_theirs(town, stolen, "theirs"))},
    "docs/apis.md": {
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
        "--access label": Scene(described),
        "--contract input.mean=": Scene(normalised),
        "--contract 'classes.names=": Scene(with_background),
    },
}
"""By the page and by words of the command; the longest words that a command has are its own."""


def scene_of(command: Command) -> Scene | None:
    found = [words for words in SCENES[command.page] if words in command.text]
    return SCENES[command.page][max(found, key=len)] if found else None


SCORES = [c for c in RUN if c.text.startswith("zooaudit score")]
OTHERS = [c for c in RUN if c not in SCORES]


@pytest.fixture
def town(request: pytest.FixtureRequest) -> Town:
    """Where a page's commands are run."""
    page = request.node.callspec.params["command"].page
    found: Town = request.getfixturevalue("readers" if page == "README.md" else "owners")
    return found


def test_every_command_is_run_or_has_a_reason_why_not() -> None:
    told = [c for page in PAGES for c in commands(page)]
    assert len(told) > 60 and len(RUN) > 25
    for start in ELSEWHERE:
        assert any(c.text.startswith(start) for c in told), f"no page has {start!r} any more"
    for command in SCORES:
        assert scene_of(command), f"{command}: say in SCENES what is in its places"
    for page, scenes in SCENES.items():
        for words in scenes:
            assert any(words in c.text and c.page == page for c in SCORES), f"{page} has no {words!r} any more"


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_a_command_works_as_it_stands(command: Command, town: Town) -> None:
    if "case.zip" in command.text and "verify" in command.text:
        town.done(next(c.text for c in OTHERS if "evidence export" in c.text))
    if "--out mine.toml" in command.text:  # of another page's reader
        (town.folder / "mine.toml").unlink(missing_ok=True)
    assert town.done(command.text).out.strip()


def test_what_a_page_writes_down_is_what_recipe_new_says(owners: Town) -> None:
    (made,) = (c.text for c in OTHERS if c.page == "docs/models.md" and c.text.startswith("zooaudit recipe new"))
    (owners.folder / "mine.toml").unlink(missing_ok=True)
    (said,) = re.findall(r"next: (.*)", owners.run(made).out)
    (written,) = (owners.filled(c.text) for c in OTHERS if c.text == MODELS_AUDIT)
    told, shown = (
        sorted(re.findall(r"--\S+ \S+", text.replace("./store", "store").replace("./my-vit", "my-vit"))) for text in (said, written)
    )
    assert set(shown) - {"--recipe smaller.toml"} == set(told) - {"--recipe mine.toml", "--factory hf:my-vit"}


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ("--size 224", "expected one size: --size HEIGHTxWIDTH"),
        ("--classes ./my-vit/config.json", "expected one order: --classes my-vit/config.json"),
    ],
)  # fmt: skip
def test_a_step_that_is_left_out_is_named(left_out: str, says: str, owners: Town) -> None:
    done = owners.run(MODELS_AUDIT.replace(left_out, ""))
    assert done.code == 2 and says in done.err and "\n" not in done.err.strip().rpartition("zooaudit: ")[2], done.err


def test_a_graph_of_bytes_in_another_order_is_not_judged_until_that_is_said(owners: Town) -> None:
    score = "zooaudit score --store store --kit 4f2a --suspect theirs.onnx"
    with onnx_bytes(owners, True):
        done = owners.run(score)
        assert done.out.startswith("cannot tell: it is right on"), done.out
        flags = re.search(r"with (--contract 'input.range=\[0,255\]' 'classes.columns=.*?') on", done.out)
        assert flags and owners.run(f"{score} {flags[1]}").out.startswith("stolen: p 0.05")


@pytest.mark.parametrize("stolen", [True, False], ids=["stolen", "innocent"])
@pytest.mark.parametrize("command", SCORES, ids=str)
def test_a_suspect_ends_at_its_verdict(command: Command, stolen: bool, town: Town) -> None:
    scene = scene_of(command)
    assert scene is not None
    expected = scene.stolen if stolen else scene.innocent
    if not expected:
        return
    with ExitStack() as stack:
        put = scene.put(town, stolen)
        text = command.text
        if put is not None:
            for place, content in stack.enter_context(put).items():
                text = text.replace(place, content)
        shutil.rmtree(town.folder / "ledgers", ignore_errors=True)  # another suspect may be given the port of one before
        done = town.run(text)
    assert done.code == 0, done.err
    assert done.out.startswith(expected), done.out
