"""Stores to copy, and what is in them."""

import pytest

from zooaudit.storage.artifacts import Artifacts

Capture = pytest.CaptureFixture[str]


def filled(artifacts: Artifacts, count: int = 5) -> Artifacts:
    """``count`` artifacts of two files each, one of them shared by all, and a report."""
    for i in range(count):
        artifacts.save("thing", f"n{i}", {"own.bin": i.to_bytes(2) * 500, "shared.bin": b"shared"}, {"n": i})
    artifacts.save("report", "done", {"report.html": b"<p>"}, {})
    return artifacts


def contents(artifacts: Artifacts) -> dict[str, bytes]:
    return {k: artifacts._store.read(k) for k in artifacts._store.keys("")}
