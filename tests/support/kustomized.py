"""What `kubectl kustomize` makes of cluster/kubernetes, for machines without kubectl: resources, components
and JSON patches, no more.

tests/unit/test_kustomized.py compares the two where kubectl is there.
"""

import copy
import json
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
KNOWN = {"apiVersion", "kind", "namespace", "resources", "patches"}


def build(folder: Path, *components: Path) -> list[Object]:
    """The objects of a folder with a kustomization, changed by components."""
    objects = _resources(folder)
    for component in components:
        objects += _resources(component)
        for patch in _read(component).get("patches", []):
            _apply(objects, patch["target"], yaml.safe_load((component / patch["path"]).read_text()))
    return objects


def _read(folder: Path) -> Object:
    found: Object = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert found.keys() <= KNOWN, f"{folder}: teach tests/support/kustomized.py {found.keys() - KNOWN}"
    return found


def _resources(folder: Path) -> list[Object]:
    texts = [(folder / name).read_text() for name in _read(folder)["resources"]]
    objects = [o for text in texts for o in yaml.safe_load_all(text)]
    return json.loads(json.dumps(objects))  # what YAML's anchors share is changed in one place only


def _apply(objects: list[Object], target: dict[str, str], operations: list[Object]) -> None:
    chosen = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (target["kind"], target["name"])]
    assert len(chosen) == 1, f"the patch's target {target} is {len(chosen)} objects"
    for operation in operations:
        _patch(chosen[0], operation)


def _patch(object_: Object, operation: Object) -> None:
    """One operation of RFC 6902, add or replace."""
    *steps, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place: Any = object_
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "add" and isinstance(place, list):
        assert last == "-", operation["path"]
        place.append(value)
        return
    assert operation["op"] in {"add", "replace"}, operation["op"]
    assert operation["op"] == "add" or last in place, f"{operation['path']} is not there to be replaced"
    place[last] = value
