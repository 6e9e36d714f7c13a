"""Runs: what was requested under a name, and the resulting report."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zooaudit.config import OwnTraining, Recipe, digest_of
from zooaudit.errors import ConfigError, DamagedArtifactError, MissingArtifactError, UnknownNameError
from zooaudit.outputs import check_folder
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts

RUN, REPORT = "run", "report"
NUMBERS = "audit.json"
REPORT_FILES = (NUMBERS, "models.parquet", "report.html", "scores.parquet")


def begin_run(
    artifacts: Artifacts,
    name: str,
    recipe: Recipe,
    data: str,
    own_victim: str | None,
    own_training: OwnTraining | None = None,
    sources: Mapping[str, str] | None = None,
) -> str:
    """Claim a run's name for one recipe, data set, victim and its training procedure; the same values again
    resume the run, also with corrected training code.

    Raises:
        ConfigError: the name belongs to something else already; says what differs.
    """
    artifacts.used.clear()
    asked = {"recipe": dataclasses.asdict(recipe), "data": data, "own_victim": own_victim}
    if own_training is not None:
        asked["own_training"] = {
            name: getattr(own_training, name) for name in ("function", "command", "factory")
        }
    if sources:
        asked["sources"] = dict(sources)
    found = artifacts.save(RUN, name, {}, asked).meta
    if differs := _differences(found, asked):
        raise ConfigError(
            f"run {name} is in {artifacts.url} already with other settings ({', '.join(differs)}); choose"
            " another name with --run"
        )
    return name


def _differences(found: Mapping[str, object], asked: Mapping[str, object], path: str = "") -> list[str]:
    """Differing fields. A missing field counts as None, so newer fields do not separate a run from its
    start."""
    listed = []
    for key in sorted(found.keys() | asked.keys()):
        a, b = found.get(key), asked.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            listed += _differences(a, b, f"{path}{key}.")
        elif digest_of([a]) != digest_of([b]):
            listed.append(f"{path}{key}: {a} there, {b} asked")
    return listed


def save_report(artifacts: Artifacts, run: str, folder: Path) -> None:
    """Store a finished run's report files, with the names of all artifacts that the run used; an existing
    report stays.

    Only the report's own files: anything else in the folder that the user chose is not ours to copy.
    """
    files = {name: (folder / name).read_bytes() for name in REPORT_FILES if (folder / name).is_file()}
    used: dict[str, list[str]] = {}
    for kind, id_ in sorted(artifacts.used):
        used.setdefault(kind, []).append(id_)
    artifacts.save(REPORT, run, files, {"run": run, "used": used})


def load_report(artifacts: Artifacts, run: str, folder: Path) -> Path:
    """Write a finished run's report files into ``folder``; returns the page.

    Raises:
        UnknownNameError: there is no such run, or it is not finished; the message lists those that are.
        InputError: see ``check_report_folder``.
    """
    artifact = _report(artifacts, run)
    check_report_folder(
        folder, *_whose(json.loads(artifact.read(NUMBERS)) if NUMBERS in artifact.files else {"run": run})
    )
    if others := sorted(artifact.files.keys() - set(REPORT_FILES)):
        raise DamagedArtifactError(
            f"the report of run {run} in {artifacts.url} holds {others[0]}; expected only"
            f" {', '.join(REPORT_FILES)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in artifact.files:
        (folder / name).write_bytes(artifact.read(name))
    return folder / "report.html"


def check_report_folder(folder: Path, run: str, store: str | None) -> None:
    """Refuse a folder for a report that cannot be written, or that holds the report of another run or store.

    Raises:
        InputError: says which.
    """
    check_folder(folder)
    page = folder / NUMBERS
    if not page.exists():
        return
    try:
        found = _whose(json.loads(page.read_text()))
    except (OSError, ValueError, TypeError, AttributeError):
        found = "", None
    if found != (run, store):
        whose = f"run {found[0]} in store {found[1] or 'unknown'}" if found[0] else "something else"
        raise ConfigError(
            f"{folder} holds the report of {whose}, which would be lost; choose another folder with --out, or"
            " remove it"
        )


def _whose(numbers: Mapping[str, Any]) -> tuple[str, str | None]:
    """Run and store, as a report names them."""
    return numbers.get("run", ""), numbers.get("store")


def artifacts_of_run(artifacts: Artifacts, run: str) -> list[tuple[str, str]]:
    """Kind and id of everything that a finished run used, and of its report.

    Raises:
        UnknownNameError: the run is not there or not finished.
        MissingArtifactError: it was finished by a zooaudit that did not record this.
    """
    used: dict[str, list[str]] = _report(artifacts, run).meta.get("used", {})
    if not used:
        raise MissingArtifactError(
            f"run {run} in {artifacts.url} does not say which artifacts it used; copy the whole store,"
            " without --run"
        )
    return [(kind, id_) for kind, ids in used.items() for id_ in ids] + [(REPORT, run)]


def _report(artifacts: Artifacts, run: str) -> Artifact:
    if not artifacts.has(REPORT, run):
        finished = ", ".join(artifacts.ids(REPORT)) or "none"
        state = (
            "has not finished: start it again with zooaudit audit"
            if artifacts.has(RUN, run)
            else "is unknown"
        )
        raise UnknownNameError(f"run {run} {state}; finished runs in {artifacts.url}: {finished}")
    return artifacts.load(REPORT, run)
