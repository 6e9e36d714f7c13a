"""Audits as Ray jobs: how tests submit them, wait for them, hold them up, and read what they wrote."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.support.finished import MODELS
from tests.support.ray_nodes import Nodes
from zooaudit.cli.main import main
from zooaudit.storage.opening import open_store

TIMEOUT_S = 300.0
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ event=[a-z_]+( [a-z0-9_]+=(\"[^\n]*\"|[^\s\"]+))*")


def verdicts(report: Path) -> dict[str, str]:
    return {v["model"]: v["decision"] for v in json.loads((report / "audit.json").read_text())["verdicts"]}


def submit(
    nodes: Nodes, id_: str, *command: str, wait: bool = True, env: dict[str, str] | None = None
) -> None:
    more = ["--runtime-env-json", json.dumps({"env_vars": env})] if env else []
    found = nodes.job(
        "submit",
        *([] if wait else ["--no-wait"]),
        "--submission-id",
        id_,
        "--working-dir",
        ".",
        *more,
        "--",
        *command,
    )
    assert "submitted successfully" in found.stdout, found.stdout + found.stderr


def audit(store: str, *more: str) -> list[str]:
    return ["python", "jobs/audit.py", "--recipe", "digits", "--store", store, *more]


def info(nodes: Nodes, id_: str) -> dict[str, Any]:
    return nodes.ask(f"/api/jobs/{id_}")


def events(nodes: Nodes, id_: str) -> list[dict[str, str]]:
    """The job's log as events; fails if a line of ours is none."""
    lines = nodes.ask(f"/api/jobs/{id_}/logs")["logs"].splitlines()
    ours = [
        line for line in lines if "job_manager.py" not in line and not line.startswith("Running entrypoint")
    ]
    assert all(LINE.fullmatch(line) for line in ours), ours
    return [dict(word.split("=", 1) for word in shlex.split(line)[1:]) for line in ours]


def ended(nodes: Nodes, id_: str) -> int | None:
    """Wait for a job's end; returns its exit code."""
    end = time.monotonic() + TIMEOUT_S
    while (found := info(nodes, id_))["status"] in ("PENDING", "RUNNING"):
        assert time.monotonic() < end, events(nodes, id_)
        time.sleep(0.5)
    return found["driver_exit_code"]


def wait_for_models(store: str, count: int) -> set[str]:
    end = time.monotonic() + TIMEOUT_S
    artifacts = open_store(store)
    while len(found := artifacts.ids("model")) < count:
        assert time.monotonic() < end, "no models"
        time.sleep(0.2)
    return set(found)


def queue_log(nodes: Nodes) -> list[dict[str, str]]:
    """What the last job's queue handed out and got back, in order."""
    logs = [
        p
        for p in (nodes.folder / "1").glob("session_latest/logs/worker-*.out")
        if "event=joined" in p.read_text()
    ]
    lines = max(logs, key=lambda p: p.stat().st_mtime).read_text().splitlines()
    return [dict(word.split("=", 1) for word in shlex.split(line)[1:]) for line in lines if " event=" in line]


def hold(nodes: Nodes, store: str) -> tuple[list[psutil.Process], set[str]]:
    """Suspend both workers when some models are finished and each worker has one in hand;
    returns them, and what is finished."""
    wait_for_models(store, 2)  # a model is in the store a moment before its worker says so
    while True:
        workers = nodes.processes("RayTrainWorker")
        for worker in workers:
            worker.suspend()
        time.sleep(0.3)  # what they had just said to the queue arrives
        result = queue_log(nodes)
        drawn, finished = (
            {e["model"] for e in result if e["event"] == event} for event in ("drawn", "finished")
        )
        assert len(finished) < MODELS and {e["workers"] for e in result if e["event"] == "joined"} == {"2"}, (
            result
        )
        if len(finished) >= 2 and len(drawn - finished) == 2:
            return workers, finished
        for worker in workers:
            worker.resume()
        time.sleep(0.05)


def fetched(store: str, folder: Path, run: str = "digits") -> dict[str, str]:
    assert main(["report", "--store", store, "--run", run, "--out", str(folder)]) == 0
    return verdicts(folder)


def everything_written(nodes: Nodes) -> Iterator[tuple[Path, str]]:
    for path in nodes.folder.rglob("logs/**/*"):
        if path.is_file():
            yield path, path.read_text(errors="replace")
