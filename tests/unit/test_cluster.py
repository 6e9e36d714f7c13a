"""cluster/kubernetes: fields that exist, references that resolve, pods that are confined, healthy and fit,
and no secret anywhere."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private import ray_constants
from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

from tests.support.manifests import (
    AUDITING,
    BASE,
    CLUSTER,
    CLUSTER_SPEC,
    GUIDE,
    JOB,
    KUBERNETES,
    NAME,
    PINNED,
    QUEUED,
    QUEUES,
    SCORING,
    SPECS,
    amount,
    of_kind,
    pods,
)
from tests.support.places import ROOT
from tests.support.policies import PODS
from zooaudit import __version__
from zooaudit.cli.main import make_parser
from zooaudit.serving import settings

BY_HAND = {"rayjob.yaml", "kustomization.yaml"}
EVERYTHING = [*BASE, *AUDITING, JOB, QUEUED, *QUEUES]
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security Standard `restricted` asks for, and a root file system that nobody writes to."""


def test_one_command_applies_everything_but_the_job_and_the_service() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted({p.name for p in KUBERNETES.iterdir() if p.is_file()} - BY_HAND)


def test_everything_is_in_the_one_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [
        o["metadata"]["namespace"]
        for o in EVERYTHING
        if o["kind"] not in {"Namespace", "ClusterQueue", "ResourceFlavor"}
    ]
    assert set(others) == {namespace["metadata"]["name"]}


@PODS
def test_references_resolve(pod: Any) -> None:
    maps, accounts = (
        {o["metadata"]["name"] for o in of_kind(kind)} for kind in ("ConfigMap", "ServiceAccount")
    )
    assert pod.spec["serviceAccountName"] in accounts
    assert {e["configMapRef"]["name"] for e in pod.container["envFrom"]} <= maps
    volumes = {v["name"] for v in pod.spec["volumes"]}
    assert {m["name"] for m in pod.container["volumeMounts"]} == volumes
    claims = {
        v["persistentVolumeClaim"]["claimName"] for v in pod.spec["volumes"] if "persistentVolumeClaim" in v
    }
    assert claims <= {o["metadata"]["name"] for o in of_kind("PersistentVolumeClaim", AUDITING)}
    assert {
        m["name"] for m in SPECS[pod.of].get("autoscalerOptions", {"volumeMounts": []})["volumeMounts"]
    } <= volumes


def secrets() -> set[tuple[str, str]]:
    """Name and key of each secret that a manifest refers to."""
    refs = [e["valueFrom"]["secretKeyRef"] for pod in pods() for e in pod.container["env"]]
    tokens = {(spec["authOptions"]["secretName"], "auth_token") for spec in SPECS.values()}
    return {(r["name"], r["key"]) for r in refs} | tokens


def test_guide_makes_every_secret_that_is_referred_to() -> None:
    for name, key in secrets():
        made = re.search(rf"create secret generic {name} .*", GUIDE)
        assert made, name
        assert f"--from-literal={key}=" in made[0] or (
            "--from-env-file=" in made[0] and f"`{key}=...`" in GUIDE
        ), key


def test_no_secret_is_in_a_file() -> None:
    assert not of_kind("Secret")
    for path in [
        p
        for p in CLUSTER.rglob("*")
        if p.suffix in {".yaml", ".yml", ".json", ".sh"} or "Dockerfile" in p.name
    ]:
        for word in re.findall(
            r"(?i)(?:secret|access_key|token|password)\w*[\"']?\s*[:=]\s*[\"']?([\w/+]{16,})",
            path.read_text(),
        ):
            assert word.lower().startswith("zooaudit"), f"{path.name}: {word}"
        assert not re.search(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", path.read_text()), path


def test_settings_are_ones_that_the_store_and_the_service_read() -> None:
    known = "".join(
        (ROOT / place).read_text() for place in ("docs/serve.md", "docs/s3.md", "zooaudit/storage/s3.py")
    )
    stated = {o["metadata"]["name"]: o["data"] for o in of_kind("ConfigMap")}
    assert set(stated["zooaudit-serve"]) <= {
        settings.STORE,
        settings.QUERIES,
        settings.BODY_MIB,
        settings.KITS_MIB,
    }
    assert stated["zooaudit-serve"][settings.QUERIES] == "0", (
        "training images do not leave unless somebody says so"
    )
    for name in [name for data in stated.values() for name in data]:
        assert name in known, name
        assert not re.search("KEY|SECRET|TOKEN|PASSWORD", name), name


def containers() -> list[tuple[str, dict[str, Any]]]:
    autoscalers = [
        (f"{of}-autoscaler", spec["autoscalerOptions"])
        for of, spec in SPECS.items()
        if "autoscalerOptions" in spec
    ]
    return [(str(p), p.container) for p in pods()] + autoscalers


@pytest.mark.parametrize(("name", "container"), containers(), ids=[n for n, _ in containers()])
def test_container_is_confined_and_its_requests_fit_its_limits(name: str, container: dict[str, Any]) -> None:
    assert container["securityContext"] == CONFINED
    requests, limits = (container["resources"][k] for k in ("requests", "limits"))
    assert {"cpu", "memory"} <= requests.keys() == limits.keys()
    assert all(amount(requests[k]) <= amount(limits[k]) for k in limits)
    assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu"), (
        "Kubernetes does not overcommit GPUs"
    )


@PODS
def test_pod_can_write_where_ray_writes_and_nowhere_else(pod: Any) -> None:
    mounts = {m["mountPath"]: m["name"] for m in pod.container["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/dev/shm", "/home/zooaudit"} | (
        {"/data"} if pod.of == "auditing" else set()
    )
    volumes = {v["name"]: v.get("emptyDir", {}) for v in pod.spec["volumes"]}
    shm = volumes[mounts["/dev/shm"]]
    assert shm["medium"] == "Memory"
    store = amount(pod.start["object-store-memory"])
    assert store <= amount(shm["sizeLimit"]) <= amount(pod.container["resources"]["limits"]["memory"]) / 2


@PODS
def test_probes_ask_what_ray_answers_without_a_token(pod: Any) -> None:
    probes = [pod.container["livenessProbe"]]
    if pod.serves and pod.group != "headgroup":  # Serve's proxy: tests/integration/test_serve.py asks one
        assert pod.container["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": 8000}
    else:
        probes.append(pod.container["readinessProbe"])
    for probe in probes:
        assert probe["httpGet"]["path"] in PUBLIC_EXACT_PATHS
        assert probe["httpGet"]["port"] == ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    alive, ready = (
        {"initialDelaySeconds": 0} | pod.container[k] for k in ("livenessProbe", "readinessProbe")
    )
    assert (
        alive["periodSeconds"] * alive["failureThreshold"]
        > ready["periodSeconds"] * ready["failureThreshold"]
    )


def test_token_authentication_is_on() -> None:
    for spec in SPECS.values():
        assert spec["authOptions"]["mode"] == "token"
        assert tuple(map(int, spec["rayVersion"].split("."))) >= (2, 52), "older Rays have no tokens"


def test_workers_scale_from_nothing_and_gpus_are_for_those_who_ask() -> None:
    assert CLUSTER_SPEC["enableInTreeAutoscaling"]
    groups = {g["groupName"]: g for g in CLUSTER_SPEC["workerGroupSpecs"]}
    for group in groups.values():
        assert 0 == group["minReplicas"] <= group["replicas"] < group["maxReplicas"]
        assert group["idleTimeoutSeconds"] >= 60
    gpu, cpu = (groups[k]["template"]["spec"] for k in ("gpu", "cpu"))
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] >= 1
    assert gpu["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert gpu["containers"][0]["image"].endswith("-cuda")
    assert "nvidia.com/gpu" not in cpu["containers"][0]["resources"]["limits"]
    assert not [k for k in CLUSTER_SPEC["headGroupSpec"]["rayStartParams"] if k == "num-gpus"]


def test_job_runs_on_the_cluster_with_arguments_that_exist() -> None:
    assert JOB["spec"]["clusterSelector"] == {"ray.io/cluster": NAME}
    arguments_exist(JOB, CLUSTER_SPEC)


def arguments_exist(job: dict[str, Any], cluster: dict[str, Any]) -> None:
    assert job["spec"]["submissionMode"] == "HTTPMode", (
        "any other mode needs a submitter pod: image, confinement, network policy"
    )
    python, script, *rest = shlex.split(job["spec"]["entrypoint"])
    assert python == "python"
    assert (ROOT / Path(script).relative_to("/app")).is_file()
    args = make_parser().parse_args(["audit", *rest])
    assert args.store.startswith("s3://")
    group = next(g for g in cluster["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert args.workers * args.gpus_per_worker <= group["maxReplicas"], (
        "Ray Train starts all workers together, or waits for ever"
    )


def test_a_queued_job_is_one_that_kueue_manages_and_its_pods_fit_the_queue() -> None:
    """What Kueue 0.19 refuses or passes over: pkg/controller/jobs/rayjob/rayjob_webhook.go,
    raycluster/common.go."""
    spec, cluster = QUEUED["spec"], SPECS["queued"]
    assert "clusterSelector" not in spec, "passed over"
    assert spec["shutdownAfterJobFinishes"] is True
    assert not cluster.get("enableInTreeAutoscaling"), "wants a feature gate of Kueue's"
    assert all(g["minReplicas"] == g["replicas"] == g["maxReplicas"] for g in cluster["workerGroupSpecs"])
    arguments_exist(QUEUED, cluster)
    (local,), (queue,), (flavor,) = (
        of_kind(kind, QUEUES) for kind in ("LocalQueue", "ClusterQueue", "ResourceFlavor")
    )
    assert QUEUED["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == local["metadata"]["name"]
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    ((given,),) = [group["flavors"] for group in queue["spec"]["resourceGroups"]]
    assert given["name"] == flavor["metadata"]["name"]
    groups = [(1, cluster["headGroupSpec"]), *((g["replicas"], g) for g in cluster["workerGroupSpecs"])]
    asked = [(n, g["template"]["spec"]["containers"][0]["resources"]["requests"]) for n, g in groups]
    for resource in given["resources"]:
        needed = sum(n * amount(requests.get(resource["name"], 0)) for n, requests in asked)
        assert 0 < needed <= amount(resource["nominalQuota"]), "it would wait for ever"
    assert not of_kind("RayJob", [*BASE, *SCORING]) and "kueue" not in str([*BASE, *SCORING, JOB]), (
        "off unless chosen"
    )


def test_a_drained_machine_leaves_the_head_and_one_of_two_scoring_workers() -> None:
    """KubeRay's pods have no controller with a scale, so a budget takes minAvailable as a number only."""
    for pod in pods():
        budgets = [
            b["spec"]
            for b in of_kind("PodDisruptionBudget")
            if b["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
        ]
        kept = pod.of != "queued" and (pod.group in {"headgroup", "scoring"})
        assert [b["minAvailable"] for b in budgets] == [1] * kept, (
            f"{pod}: more than one budget stops every eviction"
        )
        assert all(b["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for b in budgets)


def test_versions_agree() -> None:
    assert {spec["rayVersion"] for spec in SPECS.values()} == {PINNED["ray"]}
    images = {pod.container["image"] for pod in pods()}
    assert images == {f"zooaudit:{__version__}-cpu", f"zooaudit:{__version__}-cuda"}
    assert set(
        re.findall(r"zooaudit:(\d[\w.]*)-(?:cpu|cuda)", GUIDE + (CLUSTER / "Dockerfile").read_text())
    ) == {__version__}
    assert f"Ray {PINNED['ray']}" in GUIDE


@PODS
def test_ports_are_ones_that_ray_opens(pod: Any) -> None:
    ports = {p["name"]: p["containerPort"] for p in pod.container["ports"]}
    assert str(ports["metrics"]) == pod.start["metrics-export-port"]
    if pod.group == "headgroup":
        serve = {"serve": 8000} if pod.serves else {}
        assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080} | serve
