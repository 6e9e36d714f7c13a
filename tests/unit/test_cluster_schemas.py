"""cluster/kubernetes: every object has only fields that exist, by the schemas of
Kubernetes, KubeRay, Kueue and kustomize."""

import copy
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.manifests import AUDITING, KUBERNETES, OBJECTS, QUEUED, QUEUES, of_kind
from tests.support.validating import check

EVERYTHING = [
    *OBJECTS,
    *AUDITING,
    QUEUED,
    *QUEUES,
    *(yaml.safe_load(p.read_text()) for p in KUBERNETES.rglob("kustomization.yaml")),
]


@pytest.mark.parametrize(
    "found", EVERYTHING, ids=lambda o: f"{o['kind']}-{o.get('metadata', {}).get('name', '')}"
)
def test_manifest_has_only_fields_that_exist(found: dict[str, Any]) -> None:
    check(found)


def test_no_file_is_left_out() -> None:
    """What a patch adds is checked in what it changes."""
    read = {str(o) for o in EVERYTHING}
    for path in KUBERNETES.rglob("*.yaml"):
        for found in yaml.safe_load_all(path.read_text()):
            assert isinstance(found, list) or str(found) in read, path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("authOption",), {"mode": "token"}),
        (("authOptions", "mode"), "tokens"),
        (("headGroupSpec", "template", "spec", "containers", 0, "securtyContext"), {}),
        (("headGroupSpec", "template", "spec", "restartPolicy"), "Always"),
        (("autoscalerOptions", "volumeMounts", 0, "mountpath"), "/"),
        (("headGroupSpec", "template", "spec", "containers", 0, "readinessProbe"), {"path": "/"}),
        (("workerGroupSpecs", 0, "maxReplicas"), "4"),
        (("workerGroupSpecs", 0, "idleTimeoutSecond"), 300),
    ],
    ids=lambda v: str(v[-1]) if isinstance(v, tuple) else "",
)
def test_schema_refuses_a_broken_field(path: tuple[str | int, ...], value: Any) -> None:
    broken: Any = copy.deepcopy(of_kind("RayCluster")[0])
    place = broken["spec"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(broken)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("PodDisruptionBudget", ("spec", "minimumAvailable"), 1),
        ("NetworkPolicy", ("spec", "podSelector", "matchLabel"), {}),
        ("PersistentVolumeClaim", ("spec", "accessMode"), "ReadWriteOnce"),
        ("ConfigMap", ("data", "A"), 1),
        ("LocalQueue", ("spec", "queue"), "zooaudit"),
        ("ClusterQueue", ("spec", "cohort"), "all"),
    ],
)
def test_schemas_refuse_a_broken_field_of_other_kinds(kind: str, path: tuple[str, ...], value: Any) -> None:
    broken: Any = copy.deepcopy(of_kind(kind, EVERYTHING)[0])
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(broken)
