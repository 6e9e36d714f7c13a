"""tests/support/kustomized.py, by which the tests read cluster/kubernetes."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kustomized import build
from tests.support.manifests import AUDITING, BASE, KUBERNETES


def test_our_reader_of_kustomizations_reads_them_as_kubectl_does(tmp_path: Path) -> None:
    """Where there is no kubectl, the next test still holds ours to its own rules."""
    if shutil.which("kubectl") is None:
        return
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    own = tmp_path / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(
        "resources: [../kubernetes, ../kubernetes/scoring]\ncomponents: [../kubernetes/auditor]\n"
    )
    said = subprocess.run(["kubectl", "kustomize", own], capture_output=True, text=True, check=True).stdout
    assert by_name(yaml.safe_load_all(said)) == by_name([*BASE, *AUDITING])


def by_name(objects: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(o["kind"], o["metadata"]["name"]): o for o in objects}


@pytest.mark.parametrize(
    "operation",
    [{"op": "replace", "path": "/data/C", "value": "1"}, {"op": "remove", "path": "/data/A", "value": ""}],
)
def test_a_patch_that_does_not_fit_is_refused(operation: dict[str, str], tmp_path: Path) -> None:
    for name, text in {
        "base/kustomization.yaml": {"resources": ["map.yaml"]},
        "base/map.yaml": {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"A": "1"}},
        "more/kustomization.yaml": {
            "resources": [],
            "patches": [{"path": "p.yaml", "target": {"kind": "ConfigMap", "name": "m"}}],
        },
        "more/p.yaml": [operation],
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(text))
    with pytest.raises(AssertionError, match=r"remove|is not there to be replaced"):
        build(tmp_path / "base", tmp_path / "more")
