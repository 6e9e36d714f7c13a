"""Whether an object has only fields that exist: Kubernetes' own kinds by kubernetes-validate, custom
resources by tests/support/schemas."""

from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.support.places import SUPPORT

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: the oldest and the newest that the manifests are held to."""
SCHEMA = jsonschema.Draft202012Validator(yaml.safe_load((SUPPORT / "schemas" / "manifests.yaml").read_text()))
CUSTOM = ("ray.io/", "kueue.x-k8s.io/", "monitoring.coreos.com/", "kustomize.config.k8s.io/")


def check(found: dict[str, Any]) -> None:
    """Raises: jsonschema.ValidationError: a field is unknown, missing or of the wrong type;
    also in the pods of a custom resource.
    """
    if found["apiVersion"].startswith(CUSTOM):
        SCHEMA.validate(found)
        for template in _templates(found):
            _check_core(
                {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}, "template": template}
            )
    else:
        _check_core(found)


def _check_core(found: dict[str, Any]) -> None:
    for version in VERSIONS:
        kubernetes_validate.validate(found, version, strict=True)


def _templates(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods of the head, of each worker group, and the autoscaler's container as one."""
    spec = found.get("spec", {})
    cluster = (
        spec if found["kind"] == "RayCluster" else spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
    )
    if cluster is None:
        return []
    autoscaler = {
        k: v
        for k, v in cluster.get("autoscalerOptions", {}).items()
        if k in {"resources", "volumeMounts", "securityContext"}
    }
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [
        *(group["template"] for group in groups),
        {"spec": {"containers": [{"name": "autoscaler", **autoscaler}]}},
    ]
