"""What is installed works without the checkout, and with the base alone; what an extra
brings is named where it is missing."""

import email
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.installing import Installed, built, installed
from tests.support.places import ROOT
from tests.support.requirements import PROJECT
from zooaudit import __version__
from zooaudit.extras import EXTRAS

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return built(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def base(dist: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """``pip install zooaudit``."""
    return installed(dist[1], tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def audited(base: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the digits were audited, with the base alone."""
    folder = tmp_path_factory.mktemp("empty")
    done = base.run(
        "zooaudit", "audit", "--recipe", "digits", "--farm", "serial", "--store", "store", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "report reports/digits/report.html" in done.stdout
    assert "report: without figures; pip install 'zooaudit[report]'" in done.stderr
    return folder


def kit_in(folder: Path) -> str:
    (found,) = (folder / "store" / "manifests" / "kit").glob("*.json")
    return found.stem


def test_wheel_and_source_archive_hold_every_file_of_the_package(dist: tuple[Path, Path]) -> None:
    """Templates, the console, what was measured, py.typed: whatever git has."""
    archive, wheel = dist
    files = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "zooaudit").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert {
        "zooaudit/py.typed",
        "zooaudit/planning/measured.json",
        "zooaudit/reporting/report.html.j2",
    } <= files
    assert any(name.startswith("zooaudit/serving/console/") for name in files)
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if ".dist-info/" not in name} == files
    with tarfile.open(archive) as packed_source:
        assert {name.partition("/")[2] for name in packed_source.getnames()} >= files | {
            "LICENSE",
            "README.md",
            "pyproject.toml",
        }


def test_metadata_say_whose_it_is_and_what_it_needs(dist: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(dist[1]) as wheel:
        (place,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(wheel.read(place))
        licence = wheel.read(place.replace("METADATA", "licenses/LICENSE")).decode()
    assert (told["Version"], told["License-Expression"]) == (__version__, "Apache-2.0")
    assert "Apache License" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert told["Author"] == "The zooaudit authors"
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()
    assert EXTRAS.keys() < set(told.get_all("Provides-Extra", []))


def test_the_base_is_small_and_dev_has_everything() -> None:
    names = {
        extra: {re.split(r"[\[>=<;]", line)[0] for line in lines}
        for extra, lines in PROJECT["optional-dependencies"].items()
    }
    late = set().union(*(names[extra] for extra in EXTRAS))
    assert not late & {re.split(r"[\[>=<;]", line)[0] for line in PROJECT["dependencies"]}
    assert late <= names["dev"]
    assert names["cluster"] == names["ray"] | names["s3"] | names["report"]
    page = (ROOT / "docs" / "install.md").read_text()
    for extra in EXTRAS:
        assert f"`[{extra}]`" in page, extra


def test_it_says_its_version(base: Installed, tmp_path: Path) -> None:
    assert base.run("zooaudit", "--version", cwd=tmp_path).stdout == f"zooaudit {__version__}\n"
    where = base.run("python", "-c", "import zooaudit; print(zooaudit.__file__)", cwd=tmp_path).stdout
    assert where.startswith(str(base.folder)), "the checkout is not what was tested"


def test_the_base_audits_the_digits_and_scores_a_file(base: Installed, audited: Path, exported: Path) -> None:
    report = audited / "reports" / "digits"
    assert {p.name for p in report.iterdir()} == {
        "report.html",
        "audit.json",
        "models.parquet",
        "scores.parquet",
    }
    done = base.run(
        "zooaudit",
        "score",
        "--store",
        "store",
        "--kit",
        kit_in(audited),
        "--suspect",
        str(exported),
        "--json",
        cwd=audited,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["queries"] > 0
    explained = base.run(
        "zooaudit",
        "explain",
        "--store",
        "store",
        json.loads(done.stdout)["evidence"],
        "--out",
        "why.html",
        cwd=audited,
    )
    assert explained.returncode == 0, explained.stderr
    assert "<html" in (audited / "why.html").read_text()


def test_the_extra_report_draws_the_figures_of_the_same_audit(
    dist: tuple[Path, Path], audited: Path, tmp_path: Path
) -> None:
    page = audited / "reports" / "digits" / "report.html"
    bare = page.read_text()
    full = installed(dist[1], tmp_path / "report", "report")
    done = full.run(
        "zooaudit", "audit", "--recipe", "digits", "--farm", "serial", "--store", "store", cwd=audited
    )
    assert done.returncode == 0 and "0 trained" in done.stdout and "without figures" not in done.stderr, (
        done.stderr
    )
    assert page.read_text().count("data:image/svg+xml") == bare.count("data:image/svg+xml") - 2, (
        "two of the pictures are bitmaps"
    )
    assert len(page.read_text()) > 2 * len(bare)


WITHOUT = {
    "ray": ["audit", "--recipe", "digits"],
    "s3": ["score", "--store", "s3://bucket/prefix", "--kit", "4f2a", "--suspect", "a.pt2"],
    "serve": ["serve"],
    "onnx": ["score", "--store", "store", "--kit", "KIT", "--suspect", "a.onnx"],
    "hub": ["score", "--store", "store", "--kit", "KIT", "--suspect", "hf://owner/name"],
    "grpc": ["score", "--store", "store", "--kit", "KIT", "--suspect", "grpc://127.0.0.1:9/a"],
    "report": ["study", "views", "--recipe", "digits", "--store", "store"],
}
IMPORTED = {
    "ray": "import zooaudit.training.ray_farm, zooaudit.sweep.tuner",
    "s3": "import zooaudit.storage.fetched, botocore.auth, botocore.session",
    "serve": "import zooaudit.serving.deployments, zooaudit.serving.application",
    "onnx": "import onnx, onnxruntime",
    "hub": "import timm, transformers, huggingface_hub",
    "grpc": "import grpc",
    "report": "from zooaudit.reporting.canvas import rendered; rendered(lambda axes: None)",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_missing_is_named_by_its_extra(extra: str, base: Installed, audited: Path) -> None:
    """In one line, with the command that brings it; exit code 2."""
    (audited / "a.onnx").write_bytes(b"")
    done = base.run(
        "zooaudit", *(kit_in(audited) if word == "KIT" else word for word in WITHOUT[extra]), cwd=audited
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"needs the extra {extra} (No module named" in done.stderr + done.stdout
    assert f"pip install 'zooaudit[{extra}]'" in done.stderr + done.stdout


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_all_that_it_promises(
    extra: str, dist: tuple[Path, Path], base: Installed, tmp_path: Path
) -> None:
    assert base.run("python", "-c", IMPORTED[extra], cwd=tmp_path).returncode == 1
    done = installed(dist[1], tmp_path / "with", extra).run("python", "-c", IMPORTED[extra], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_doctor_misses_nothing_of_the_base_and_lists_the_extras(base: Installed, tmp_path: Path) -> None:
    done = base.run("zooaudit", "doctor", "--json", cwd=tmp_path)
    found = {line["what"]: line for line in json.loads(done.stdout)}
    told = [line["found"] for line in found.values() if "not installed" in line["found"]]
    assert all(any(f"zooaudit[{extra}]" in line for line in told) for extra in EXTRAS), told
    assert not any(line["remedy"].startswith("pip") for line in found.values())


@pytest.mark.parametrize("job", ["audit", "score", "sweep", "zoo"])
def test_a_job_that_cannot_run_says_why_in_one_line(job: str, base: Installed, tmp_path: Path) -> None:
    for more, said in (
        ({}, f"-- python -m zooaudit.jobs.{job} ..."),
        ({"RAY_ADDRESS": "none"}, "pip install 'zooaudit[cluster]'"),
    ):
        done = base.run("python", "-m", f"zooaudit.jobs.{job}", cwd=tmp_path, **more)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "event=error code=2" in done.stderr and said in done.stderr


def test_a_job_needs_no_checkout(dist: tuple[Path, Path], audited: Path, tmp_path: Path) -> None:
    node = installed(dist[1], tmp_path / "node", "cluster")
    job = ["python", "-m", "zooaudit.jobs.zoo", "--recipe", "digits", "--farm", "serial", "--store", "store"]
    done = node.run(*job, cwd=audited, RAY_ADDRESS="none")
    assert done.returncode == 0 and "event=done trained=0" in done.stderr, done.stderr
