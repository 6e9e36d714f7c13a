"""Audits as processes of their own, as a user starts them. Ray's processes are a run's children: that tells
them from another cluster's."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from zooaudit.storage.opening import open_store

TIMEOUT_S = 300


def start(store: Path | str, farm: str = "ray", out: Path | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "zooaudit", "audit", "--recipe", "digits", "--farm", farm, "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return subprocess.Popen(
        [*command, "--store", str(store), "--out", str(out or Path(f"{store}-report"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def result(run: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, err
    return json.loads(out)


def finished_models(store: Path) -> set[str]:
    return {p.stem for p in (store / "manifests" / "model").glob("*.json")}


def objects(store: Path | str) -> set[str]:
    """Digests of everything stored but reports, which hold times."""
    artifacts = open_store(str(store))
    kept = [
        artifacts.load(kind, id_)
        for kind in artifacts.kinds()
        if kind != "report"
        for id_ in artifacts.ids(kind)
    ]
    return {entry["sha256"] for artifact in kept for entry in artifact.files.values()}


def wait_for(condition: Callable[[], bool], run: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert run.poll() is None and time.monotonic() < deadline, (
            "the run ended, or nothing happened, before the fault could be made"
        )
        time.sleep(0.02)


def processes(run: "subprocess.Popen[str] | psutil.Process", name: str = "") -> list[psutil.Process]:
    """Descendants of a run whose title has ``name``."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if name in title:
            found.append(process)
    return found


def leases_left(url: str) -> list[str]:
    return open_store(url).dead_leases(0.0)
