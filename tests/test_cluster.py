"""cluster/kubernetes: fields that exist, references that resolve, pods that are confined, healthy and fit, and no secret anywhere."""

import copy
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private import ray_constants
from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

from tests.manifests import (
    CLUSTER,
    CLUSTER_SPEC,
    GUIDE,
    KUBERNETES,
    NAME,
    OBJECTS,
    PINNED,
    ROOT,
    SERVICE,
    amount,
    manifests,
    of_kind,
    pods,
)  # fmt: skip
from zooaudit import __version__
from zooaudit.cli import make_parser
from zooaudit.serving import settings

SCHEMA = jsonschema.Draft202012Validator(yaml.safe_load((Path(__file__).parent / "schemas" / "manifests.yaml").read_text()))
PODS = pytest.mark.parametrize("pod", pods(), ids=lambda p: f"service-{p.group}" if p.serves else p.group)
HEADS = pytest.mark.parametrize("head", [p for p in pods() if p.group == "headgroup"], ids=["cluster", "service"])
SERVED = SERVICE["spec"]["rayClusterConfig"]
BY_HAND = {"rayjob.yaml", "rayservice.yaml", "kustomization.yaml"}
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security Standard `restricted` asks for, and a root file system that nobody writes to."""


@pytest.mark.parametrize("name", manifests())
def test_manifest_has_only_fields_that_exist(name: str) -> None:
    for found in manifests()[name]:
        SCHEMA.validate(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("authOption",), {"mode": "token"}),
        (("authOptions", "mode"), "tokens"),
        (("headGroupSpec", "template", "spec", "containers", 0, "securtyContext"), {}),
        (("headGroupSpec", "template", "spec", "containers", 0, "resources", "limits", "memory"), "8 GB"),
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
        SCHEMA.validate(broken)


def test_one_command_applies_everything_but_the_job_and_the_service() -> None:
    listed = manifests()["kustomization.yaml"][0]["resources"]
    assert sorted(listed) == sorted({p.name for p in KUBERNETES.iterdir()} - BY_HAND)


def test_everything_is_in_the_one_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [o["metadata"]["namespace"] for o in OBJECTS if o["kind"] != "Namespace"]
    assert set(others) == {namespace["metadata"]["name"]}


@PODS
def test_references_resolve(pod: Any) -> None:
    maps, accounts = ({o["metadata"]["name"] for o in of_kind(kind)} for kind in ("ConfigMap", "ServiceAccount"))
    assert pod.spec["serviceAccountName"] in accounts
    assert {e["configMapRef"]["name"] for e in pod.container["envFrom"]} <= maps
    volumes = {v["name"] for v in pod.spec["volumes"]}
    assert {m["name"] for m in pod.container["volumeMounts"]} == volumes
    spec = SERVED if pod.serves else CLUSTER_SPEC
    assert {m["name"] for m in spec["autoscalerOptions"]["volumeMounts"]} <= volumes


def secrets() -> set[tuple[str, str]]:
    """Name and key of each secret that a manifest refers to."""
    refs = [e["valueFrom"]["secretKeyRef"] for pod in pods() for e in pod.container["env"]]
    tokens = {(spec["authOptions"]["secretName"], "auth_token") for spec in (CLUSTER_SPEC, SERVED)}
    return {(r["name"], r["key"]) for r in refs} | tokens


def test_guide_makes_every_secret_that_is_referred_to() -> None:
    for name, key in secrets():
        made = re.search(rf"create secret generic {name} .*", GUIDE)
        assert made, name
        assert f"--from-literal={key}=" in made[0] or ("--from-env-file=" in made[0] and f"`{key}=...`" in GUIDE), key


def test_no_secret_is_in_a_file() -> None:
    assert not of_kind("Secret")
    for path in [p for p in CLUSTER.rglob("*") if p.suffix in {".yaml", ".yml", ".json", ".sh"} or "Dockerfile" in p.name]:
        for word in re.findall(r"(?i)(?:secret|access_key|token|password)\w*[\"']?\s*[:=]\s*[\"']?([\w/+]{16,})", path.read_text()):
            assert word.lower().startswith("zooaudit"), f"{path.name}: {word}"
        assert not re.search(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", path.read_text()), path


def test_settings_are_ones_that_the_store_and_the_service_read() -> None:
    known = (ROOT / "README.md").read_text() + (ROOT / "zooaudit" / "storage" / "s3.py").read_text()
    stated = {o["metadata"]["name"]: o["data"] for o in of_kind("ConfigMap")}
    assert set(stated["zooaudit-serve"]) <= {settings.STORE, settings.QUERIES, settings.BODY_MIB, settings.KITS_MIB}
    assert stated["zooaudit-serve"][settings.QUERIES] == "0", "training images do not leave unless somebody says so"
    for name in [name for data in stated.values() for name in data]:
        assert name in known, name
        assert not re.search("KEY|SECRET|TOKEN|PASSWORD", name), name


def containers() -> list[tuple[str, dict[str, Any]]]:
    autoscalers = [("autoscaler", spec["autoscalerOptions"]) for spec in (CLUSTER_SPEC, SERVED)]
    return [(p.group, p.container) for p in pods()] + autoscalers


@pytest.mark.parametrize(("name", "container"), containers(), ids=[n for n, _ in containers()])
def test_container_is_confined_and_its_requests_fit_its_limits(name: str, container: dict[str, Any]) -> None:
    assert container["securityContext"] == CONFINED
    requests, limits = (container["resources"][k] for k in ("requests", "limits"))
    assert {"cpu", "memory"} <= requests.keys() == limits.keys()
    assert all(amount(requests[k]) <= amount(limits[k]) for k in limits)
    assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu"), "Kubernetes does not overcommit GPUs"


@PODS
def test_pod_can_write_where_ray_writes_and_nowhere_else(pod: Any) -> None:
    mounts = {m["mountPath"]: m["name"] for m in pod.container["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/dev/shm", "/home/zooaudit"}
    volumes = {v["name"]: v["emptyDir"] for v in pod.spec["volumes"]}
    shm = volumes[mounts["/dev/shm"]]
    assert shm["medium"] == "Memory"
    store = amount(pod.start["object-store-memory"])
    assert store <= amount(shm["sizeLimit"]) <= amount(pod.container["resources"]["limits"]["memory"]) / 2


@PODS
def test_probes_ask_what_ray_answers_without_a_token(pod: Any) -> None:
    probes = [pod.container["livenessProbe"]]
    if pod.serves and pod.group != "headgroup":  # Serve's proxy: tests/test_serve.py asks one
        assert pod.container["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": 8000}
    else:
        probes.append(pod.container["readinessProbe"])
    for probe in probes:
        assert probe["httpGet"]["path"] in PUBLIC_EXACT_PATHS
        assert probe["httpGet"]["port"] == ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    alive, ready = ({"initialDelaySeconds": 0} | pod.container[k] for k in ("livenessProbe", "readinessProbe"))
    assert alive["periodSeconds"] * alive["failureThreshold"] > ready["periodSeconds"] * ready["failureThreshold"]


def test_token_authentication_is_on() -> None:
    for spec in (CLUSTER_SPEC, SERVED):
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


def test_only_the_head_may_talk_to_kubernetes() -> None:
    accounts = {o["metadata"]["name"]: o for o in of_kind("ServiceAccount")}
    for pod in pods():
        mounted = accounts[pod.spec["serviceAccountName"]].get("automountServiceAccountToken", True)
        assert mounted == (pod.group == "headgroup")
        assert pod.spec.get("automountServiceAccountToken", True) == mounted


def policies(labels: dict[str, str]) -> list[dict[str, Any]]:
    """The network policies that select a pod with these labels."""
    return [p["spec"] for p in of_kind("NetworkPolicy") if p["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]


def rules(labels: dict[str, str], direction: str, peer: str) -> list[tuple[dict[str, Any], set[int]]]:
    """Peers and ports that are let through; no ports means all of them."""
    allowed = [rule for p in policies(labels) for rule in p.get(direction, [])]
    return [(one, {port["port"] for port in rule.get("ports", [])}) for rule in allowed for one in rule[peer]]


@PODS
def test_network_policy_denies_what_it_does_not_name(pod: Any) -> None:
    assert {"Ingress", "Egress"} <= {t for p in policies(pod.labels) for t in p["policyTypes"]}
    inside = {"podSelector": {"matchLabels": pod.inside}}
    outside = [(who, ports) for who, ports in rules(pod.labels, "ingress", "from") if who != inside]
    assert (inside, set()) in rules(pod.labels, "ingress", "from")
    assert (inside, set()) in rules(pod.labels, "egress", "to")
    own = {8265} if pod.group == "headgroup" else {8000} if pod.serves else set()
    assert {port for _, ports in outside for port in ports} == {8080} | own
    assert all(who and ports for who, ports in outside), "a rule without peers or ports lets everybody in"


@PODS
def test_pods_reach_names_and_the_store_but_not_the_nodes_credentials(pod: Any) -> None:
    reached = rules(pod.labels, "egress", "to")
    asked = [
        port["protocol"]
        for p in policies(pod.labels)
        for rule in p.get("egress", [])
        for port in rule.get("ports", [])
        if port["port"] == 53
    ]
    assert sorted(asked) == ["TCP", "UDP"], "large answers of the name server come by TCP"
    blocks = [(who["ipBlock"], ports) for who, ports in reached if "ipBlock" in who]
    assert any(443 in ports for _, ports in blocks)
    assert all("169.254.0.0/16" in block["except"] for block, _ in blocks)


@HEADS
def test_operator_reaches_the_dashboard_from_where_the_guide_installs_it(head: Any) -> None:
    named = [
        who["namespaceSelector"]["matchLabels"]
        for who, p in rules(head.labels, "ingress", "from")
        if p == {8265} and "namespaceSelector" in who
    ]
    assert named == [{"kubernetes.io/metadata.name": "kuberay-system"}]
    installed = re.search(r"helm install .* --version (\S+) --namespace (\S+)", GUIDE)
    assert installed
    assert installed[2] == "kuberay-system"
    assert tuple(map(int, installed[1].split("."))) >= (1, 6), "authOptions.secretName came with 1.6.0"


def test_job_runs_on_the_cluster_with_arguments_that_exist() -> None:
    (job,) = of_kind("RayJob")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": NAME}
    assert job["spec"]["submissionMode"] == "HTTPMode", "any other mode needs a submitter pod: image, confinement, network policy"
    python, script, *rest = shlex.split(job["spec"]["entrypoint"])
    assert python == "python"
    assert (ROOT / Path(script).relative_to("/app")).is_file()
    args = make_parser().parse_args(["audit", *rest])
    assert args.store.startswith("s3://")
    group = next(g for g in CLUSTER_SPEC["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert args.workers * args.gpus_per_worker <= group["maxReplicas"], "Ray Train starts all workers together, or waits for ever"


def test_versions_agree() -> None:
    assert CLUSTER_SPEC["rayVersion"] == SERVED["rayVersion"] == PINNED["ray"]
    images = {pod.container["image"] for pod in pods()}
    assert images == {f"zooaudit:{__version__}-cpu", f"zooaudit:{__version__}-cuda"}
    assert f"Ray {PINNED['ray']}" in GUIDE


@PODS
def test_ports_are_ones_that_ray_opens(pod: Any) -> None:
    ports = {p["name"]: p["containerPort"] for p in pod.container["ports"]}
    assert str(ports["metrics"]) == pod.start["metrics-export-port"]
    if pod.group == "headgroup":
        serve = {"serve": 8000} if pod.serves else {}
        assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080} | serve


def serve_configs() -> tuple[ServeDeploySchema, ServeDeploySchema]:
    """The service's and that of `serve deploy`, read by Ray's own validator."""
    texts = SERVICE["spec"]["serveConfigV2"], (CLUSTER / "serve.yaml").read_text()
    in_service, alone = (ServeDeploySchema.model_validate(yaml.safe_load(text)) for text in texts)
    return in_service, alone


def test_service_and_serve_deploy_run_the_same_application() -> None:
    in_service, alone = serve_configs()
    assert in_service.applications == alone.applications
    assert (in_service.http_options.host, alone.http_options.host) == ("0.0.0.0", "127.0.0.1")
    assert in_service.http_options.port == alone.http_options.port == 8000
    (application,) = in_service.applications
    module, name = application.import_path.split(":")
    (deployment,) = application.deployments
    assert getattr(importlib.import_module(module), name)
    assert f'name="{deployment.name}"' in Path(importlib.import_module(module).__file__ or "").read_text()


def test_serve_config_with_a_misspelt_field_is_noticed() -> None:
    """Ray ignores what it does not know at the top, so the fields are compared with those that it has."""
    for text in (SERVICE["spec"]["serveConfigV2"], (CLUSTER / "serve.yaml").read_text()):
        config = yaml.safe_load(text)
        assert config.keys() <= ServeDeploySchema.model_fields.keys()
        assert config["http_options"].keys() <= HTTPOptionsSchema.model_fields.keys()
        for application in config["applications"]:
            assert application.keys() <= ServeApplicationSchema.model_fields.keys()
            for deployment in application["deployments"]:
                assert deployment.keys() <= DeploymentSchema.model_fields.keys()
                assert deployment["autoscaling_config"].keys() <= AutoscalingConfig.model_fields.keys()


def test_workers_have_room_for_every_replica_and_callers_reach_them_only() -> None:
    (deployment,) = serve_configs()[0].applications[0].deployments
    (group,) = SERVED["workerGroupSpecs"]
    cores = amount(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    scaling = deployment.autoscaling_config
    assert isinstance(scaling, dict)
    per_pod = cores // deployment.ray_actor_options.num_cpus
    assert scaling["max_replicas"] <= group["maxReplicas"] * per_pod
    assert 1 <= scaling["min_replicas"] <= group["minReplicas"] * per_pod, "the first request would wait for a pod"
    assert SERVICE["spec"]["excludeHeadPodFromServeSvc"] is True
    assert SERVED["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    callers = [who for pod in pods() if pod.serves for who, ports in rules(pod.labels, "ingress", "from") if 8000 in ports]
    assert callers == [{"podSelector": {"matchLabels": {"zooaudit.io/role": "client"}}}]


def test_service_has_keys_on_every_node_and_a_name_of_its_own() -> None:
    for pod in [p for p in pods() if p.serves]:
        given = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in pod.container["env"]}
        assert given[settings.KEYS] == {"name": "zooaudit-serve", "key": "keys_sha256"}
        assert {"configMapRef": {"name": "zooaudit-serve"}} in pod.container["envFrom"]
        assert settings.OPEN not in str(OBJECTS)
    assert SERVICE["metadata"]["name"] != NAME, "KubeRay names both Services of a head after these"
