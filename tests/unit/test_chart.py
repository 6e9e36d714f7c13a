"""cluster/chart makes the objects of cluster/kubernetes, puts values where they belong, and
refuses values that mean nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmError
from helm_python.chart import lint, package

from tests.support.kustomized import Object
from tests.support.manifests import AUDITING, BASE, CLUSTER, GUIDE, JOB, PINNED, QUEUED, SCORING, of_kind
from tests.support.validating import check
from zooaudit import __version__

CHART = CLUSTER / "chart"
SERVICE = {"scoring": {"enabled": True}}
WITH_AUDITOR = {"scoring": {"enabled": True, "auditor": {"enabled": True}}}


def render(**values: Any) -> list[Object]:
    with Chart.load(CHART) as chart:
        texts = chart.render(values, name="zooaudit", namespace="zooaudit")
    assert texts.pop("zooaudit/templates/NOTES.txt").strip()
    return [o for text in texts.values() for o in yaml.safe_load_all(text) if o]


def comparable(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """By kind and name; parsed where a text holds YAML; worker groups by name, as Helm goes through a map in
    the order of its keys."""
    found = {}
    for object_ in json.loads(json.dumps(objects)):
        spec = object_.get("spec", {})
        if "serveConfigV2" in spec:
            spec["serveConfigV2"] = yaml.safe_load(spec["serveConfigV2"])
        for cluster in (spec, spec.get("rayClusterConfig", {}), spec.get("rayClusterSpec", {})):
            if "workerGroupSpecs" in cluster:
                cluster["workerGroupSpecs"] = {g["groupName"]: g for g in cluster["workerGroupSpecs"]}
        metadata = object_["metadata"]
        found[object_["kind"], metadata.get("name") or metadata["generateName"]] = object_
    assert len(found) == len(objects)
    return found


def but_namespace(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return comparable([o for o in objects if o["kind"] != "Namespace"])


def test_as_it_is_it_makes_what_kustomize_makes() -> None:
    assert comparable(render()) == but_namespace(BASE)


def test_with_scoring_it_makes_what_kustomize_makes() -> None:
    assert comparable(render(**SERVICE)) == but_namespace([*BASE, *SCORING])


def test_with_the_auditor_it_makes_what_kustomize_makes_and_keeps_the_volume() -> None:
    found = comparable(render(**WITH_AUDITOR))
    kept = found["PersistentVolumeClaim", "zooaudit-auditor"]["metadata"].pop("annotations")
    assert kept == {"helm.sh/resource-policy": "keep"}
    assert found == but_namespace([*BASE, *AUDITING])


@pytest.mark.parametrize(("queue", "expected"), [("", JOB), ("audits", QUEUED)])
def test_a_job_is_that_of_the_manifests_with_a_queue_and_without(queue: str, expected: Object) -> None:
    (job,) = of_kind("RayJob", render(job={"enabled": True, "queue": queue}))
    assert comparable([job]) == comparable([expected])


MANY: Object = {
    "image": {
        "registry": "registry.example.com/",
        "tag": "1.2",
        "digests": {"cpu": f"sha256:{'ab' * 32}"},
        "pullSecrets": ["pull"],
    },
    "serviceAccounts": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}},
    "s3": {
        "endpoint": "",
        "region": "eu-central-1",
        "secret": "",
        "store": "s3://ours/a",
        "environment": {"ZOOAUDIT_S3_SSE": "AES256"},
    },
    "ray": {"tokenSecret": "our-token"},
    "cluster": {
        "workerGroups": {
            "gpu": {"maxReplicas": 40, "nodeSelector": {"gpu": "h100"}},
            "spot": {
                "cuda": True,
                "minReplicas": 1,
                "maxReplicas": 9,
                "resources": {
                    k: {"cpu": 8, "memory": "32Gi", "nvidia.com/gpu": 1} for k in ("requests", "limits")
                },
            },
        }
    },
    "scoring": {
        "enabled": True,
        "keysSecret": "our-keys",
        "minReplicas": 3,
        "maxReplicas": 12,
        "trainingImages": True,
        "kitsMiB": 1024,
        "environment": {"ZOOAUDIT_SERVE_OPEN_AUDITS": 4},
        "callers": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "auditor": {
            "enabled": True,
            "suspects": ["models.example", "https://a.example/v2"],
            "volume": {"size": "1Ti", "storageClass": "fast"},
        },
    },
    "networkPolicy": {
        "ports": [443, 9000],
        "operatorNamespace": "operators",
        "monitoringNamespace": "metrics",
        "nodeCredentials": True,
    },
    "monitoring": {"podMonitor": True},
    "job": {"enabled": True, "queue": "team-a", "queuedGroup": "spot", "queuedPods": 3, "workers": 12},
}


def test_values_get_where_they_belong() -> None:
    objects = render(**MANY)
    for found in objects:
        check(found)
    by_name = comparable(objects)
    text = json.dumps(objects)
    images = set(re.findall(r'"image": "([^"]+)"', text))
    assert images == {
        f"registry.example.com/zooaudit:1.2-cpu@sha256:{'ab' * 32}",
        "registry.example.com/zooaudit:1.2-cuda",
    }
    assert "AWS_ACCESS_KEY_ID" not in text and "AWS_ENDPOINT_URL_S3" not in text
    assert by_name["ConfigMap", "zooaudit-s3"]["data"]["ZOOAUDIT_S3_SSE"] == "AES256"
    serve = by_name["ConfigMap", "zooaudit-serve"]["data"]
    assert (serve["ZOOAUDIT_STORE"], serve["ZOOAUDIT_SERVE_QUERIES"]) == ("s3://ours/a", "1")
    assert (serve["ZOOAUDIT_SERVE_KITS_MIB"], serve["ZOOAUDIT_SERVE_OPEN_AUDITS"]) == ("1024", "4")
    assert serve["ZOOAUDIT_SERVE_SUSPECTS"] == "models.example,https://a.example/v2"
    groups = by_name["RayCluster", "zooaudit"]["spec"]["workerGroupSpecs"]
    assert {name: g["maxReplicas"] for name, g in groups.items()} == {"gpu": 40, "cpu": 8, "spot": 9}
    assert (
        groups["gpu"]["template"]["spec"]["nodeSelector"] == {"gpu": "h100"}
        and groups["gpu"]["template"]["spec"]["tolerations"]
    )
    service = by_name["RayService", "zooaudit-scoring"]["spec"]
    assert service["rayClusterConfig"]["workerGroupSpecs"]["scoring"]["maxReplicas"] == 12
    assert (
        service["serveConfigV2"]["applications"][0]["deployments"][0]["autoscaling_config"]["min_replicas"]
        == 3
    )
    assert {"name": "our-keys", "key": "keys_sha256"} in (
        e.get("valueFrom", {}).get("secretKeyRef") for e in first_env(service)
    )
    claim = by_name["PersistentVolumeClaim", "zooaudit-auditor"]["spec"]
    assert claim["storageClassName"] == "fast" and claim["resources"]["requests"]["storage"] == "1Ti"
    (peers,) = [
        rule["from"] for rule in by_name["NetworkPolicy", "zooaudit-scoring-callers"]["spec"]["ingress"]
    ]
    assert {"namespaceSelector": {"matchLabels": {"name": "ingress"}}} in peers
    egress = by_name["NetworkPolicy", "zooaudit-ray"]["spec"]["egress"][-1]
    assert [p["port"] for p in egress["ports"]] == [443, 9000] and "except" not in egress["to"][0]["ipBlock"]
    job = by_name["RayJob", "zooaudit-audit-"]
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team-a"}
    assert (
        job["spec"]["rayClusterSpec"]["workerGroupSpecs"].keys() == {"spot"}
        and "--workers 12" in job["spec"]["entrypoint"]
    )
    for account in of_kind("ServiceAccount", objects):
        assert account["metadata"]["annotations"] == MANY["serviceAccounts"]["annotations"]


def first_env(service: Object) -> list[Object]:
    found: list[Object] = service["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0][
        "env"
    ]
    return found


def test_what_is_turned_off_is_not_there() -> None:
    found = {
        o["kind"]
        for o in render(networkPolicy={"enabled": False}, disruptionBudgets={"enabled": False}, **SERVICE)
    }
    assert found == {"ServiceAccount", "ConfigMap", "RayCluster", "RayService"}
    only = comparable(render(cluster={"enabled": False}, **SERVICE))
    assert ("RayCluster", "zooaudit") not in only and ("PodDisruptionBudget", "zooaudit-head") not in only
    (cluster,) = of_kind("RayCluster", render(cluster={"workerGroups": {"gpu": None}}))
    assert [g["groupName"] for g in cluster["spec"]["workerGroupSpecs"]] == ["cpu"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"images": {}}, "images"),
        ({"cluster": {"workerGroups": {"gpu": {"maxReplica": 8}}}}, "maxReplica"),
        ({"cluster": {"workerGroups": {"gpu": {"maxReplicas": "8"}}}}, "maxReplicas"),
        ({"cluster": {"head": {"resources": {"limits": {"memory": "8 GB"}}}}}, "memory"),
        ({"image": {"digests": {"cpu": "sha256:abc"}}}, "digests"),
        ({"job": {"run": "a; rm -rf ."}}, "run"),
        ({"s3": {"environment": {"AWS_SECRET_ACCESS_KEY": "in a file"}}}, "AWS_SECRET_ACCESS_KEY"),
        ({"scoring": {"auditor": {"enabled": True}}}, "enable both"),
        (
            {"job": {"enabled": True, "queue": "a", "queuedGroup": "tpu"}},
            "expected one of cluster.workerGroups",
        ),
    ],
)
def test_values_that_mean_nothing_are_refused(values: Object, says: str) -> None:
    with pytest.raises(HelmError, match=says):
        render(**values)


def test_it_is_of_this_version_and_packages(tmp_path: Path) -> None:
    with Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == chart.version == __version__
    assert {o["spec"]["rayVersion"] for o in of_kind("RayCluster", render())} == {PINNED["ray"]}
    found = lint(str(CHART), strict=True)
    assert not found.get("errors"), found
    assert Path(package(str(CHART), destination=str(tmp_path))).is_file()


def test_every_value_is_in_the_schema_and_the_guide_names_some() -> None:
    """A value without a schema could be misspelt."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name in set(re.findall(r"--set (?:'|\")?([\w.]+)=", GUIDE)):
        place = values
        for part in name.split("."):
            assert part in place, f"the guide sets {name}"
            place = place[part]
