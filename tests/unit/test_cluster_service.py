"""The RayService, without and with the auditor: Serve's configuration, room for every
replica, keys, callers, the volume."""

import importlib
import json
from pathlib import Path

import pytest
import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

from tests.support.manifests import (
    AUDITING,
    AUDITOR,
    CLUSTER,
    NAME,
    OBJECTS,
    SCORING,
    SERVICE,
    SPECS,
    amount,
    of_kind,
    pods,
)
from tests.support.policies import rules
from zooaudit.serving import deployments as app
from zooaudit.serving import settings

SERVICES = ["service", "auditing"]
CONFIGS = {
    "service": SERVICE["spec"]["serveConfigV2"],
    "auditing": AUDITOR["spec"]["serveConfigV2"],
    "alone": (CLUSTER / "serve.yaml").read_text(),
}
"""Texts by who reads them: KubeRay, KubeRay with the auditor's component, `serve deploy`."""


def serve_config(of: str) -> ServeDeploySchema:
    """As Ray's own validator reads it."""
    return ServeDeploySchema.model_validate(yaml.safe_load(CONFIGS[of]))


def test_service_and_serve_deploy_run_the_same_application() -> None:
    in_service, alone = serve_config("service"), serve_config("alone")
    (there,), (here,) = in_service.applications[0].deployments, alone.applications[0].deployments
    assert there.autoscaling_config | {"min_replicas": 1} == here.autoscaling_config, (
        "two at least, one on a machine"
    )
    here.autoscaling_config = there.autoscaling_config
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
    for text in CONFIGS.values():
        config = yaml.safe_load(text)
        assert config.keys() <= ServeDeploySchema.model_fields.keys()
        assert config["http_options"].keys() <= HTTPOptionsSchema.model_fields.keys()
        for application in config["applications"]:
            assert application.keys() <= ServeApplicationSchema.model_fields.keys()
            for deployment in application["deployments"]:
                assert deployment.keys() <= DeploymentSchema.model_fields.keys()
                assert (
                    deployment.get("autoscaling_config", {}).keys() <= AutoscalingConfig.model_fields.keys()
                )


@pytest.mark.parametrize("of", SERVICES)
def test_workers_have_room_for_every_replica_and_two_answer_from_the_start(of: str) -> None:
    scoring = next(d for d in serve_config(of).applications[0].deployments if d.name == "scoring")
    group = next(g for g in SPECS[of]["workerGroupSpecs"] if g["groupName"] == "scoring")
    scaling = scoring.autoscaling_config
    assert isinstance(scaling, dict)
    per_pod = int(group["rayStartParams"]["num-cpus"]) // scoring.ray_actor_options.num_cpus
    assert per_pod == 1, "one pod that goes takes one replica with it"
    assert amount(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) > per_pod, (
        "a core for Ray and the proxy"
    )
    assert scaling["max_replicas"] <= group["maxReplicas"]
    assert 2 <= scaling["min_replicas"] <= group["minReplicas"] <= group["replicas"], (
        "the first request would wait for a pod"
    )
    (spread,) = group["template"]["spec"]["topologySpreadConstraints"]
    worker = next(p for p in pods() if (p.of, p.group) == (of, "scoring"))
    assert spread["labelSelector"]["matchLabels"].items() <= worker.labels.items()


@pytest.mark.parametrize("of", SERVICES)
def test_a_worker_that_goes_answers_until_callers_know(of: str) -> None:
    worker = next(p for p in pods() if (p.of, p.group) == (of, "scoring"))
    _, seconds = worker.container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) >= 10
    assert worker.spec["terminationGracePeriodSeconds"] >= int(seconds) + 30, (
        "`ray start --block` drains its node for up to 30 s"
    )


@pytest.mark.parametrize("of", SERVICES)
def test_callers_reach_workers_only(of: str) -> None:
    assert {"service": SERVICE, "auditing": AUDITOR}[of]["spec"]["excludeHeadPodFromServeSvc"] is True
    assert SPECS[of]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    served = [pod for pod in pods() if pod.of == of]
    callers = {
        pod.group: [who for who, ports in rules(pod.labels, "ingress", "from") if 8000 in ports]
        for pod in served
    }
    assert callers.pop("headgroup") == []
    assert all(
        who == [{"podSelector": {"matchLabels": {"zooaudit.io/role": "client"}}}] for who in callers.values()
    )


def test_one_auditor_is_where_the_volume_is_and_nothing_else_is_there() -> None:
    config = yaml.safe_load(CONFIGS["auditing"])
    (auditor,) = [d for d in config["applications"][0]["deployments"] if d["name"] == "auditor"]
    assert auditor["num_replicas"] == 1
    assert f'name="{auditor["name"]}"' in Path(app.__file__ or "").read_text()
    config["applications"][0]["deployments"].remove(auditor)
    assert config == yaml.safe_load(CONFIGS["service"]), "the component's text repeats the service's"

    group = next(g for g in SPECS["auditing"]["workerGroupSpecs"] if g["groupName"] == "auditor")
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"] == 1
    start = group["rayStartParams"]
    assert start["num-cpus"] == "0" and auditor["ray_actor_options"] == {
        "num_cpus": 0,
        "resources": {"auditor": 1},
    }
    assert json.loads(json.loads(start["resources"])) == auditor["ray_actor_options"]["resources"], (
        "KubeRay gives it to a shell"
    )
    others = [p for p in pods() if p.of == "auditing" and p.group != "auditor"]
    assert all("resources" not in p.start for p in others)

    (claim,) = of_kind("PersistentVolumeClaim", AUDITING)
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    data = {
        p.group: next(v for v in p.spec["volumes"] if v["name"] == "data")
        for p in pods()
        if p.of == "auditing"
    }
    assert data.pop("auditor")["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert len(data) == 2 and all("emptyDir" in volume for volume in data.values())
    assert all(
        {"name": "data", "mountPath": "/data"} in p.container["volumeMounts"]
        for p in pods()
        if p.of == "auditing"
    )
    assert AUDITOR["spec"]["upgradeStrategy"]["type"] == "None", (
        "a second cluster would run every open audit twice"
    )


def test_the_auditors_component_opens_a_folder_and_no_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    (plain,), (more,) = (of_kind("ConfigMap", objects) for objects in (SCORING, AUDITING))
    added = {k: v for k, v in more["data"].items() if k not in plain["data"]}
    assert added == {settings.DATA: "/data", settings.SUSPECTS: ""}
    for name, value in {**more["data"], settings.KEYS: "ab" * 32}.items():
        monkeypatch.setenv(name, value)
    assert settings.Settings.from_environment().suspects == ()


def test_service_has_keys_on_every_node_and_a_name_of_its_own() -> None:
    for pod in [p for p in pods() if p.serves]:
        given = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in pod.container["env"]}
        assert given[settings.KEYS] == {"name": "zooaudit-serve", "key": "keys_sha256"}
        assert {"configMapRef": {"name": "zooaudit-serve"}} in pod.container["envFrom"]
        assert settings.OPEN not in str(OBJECTS + AUDITING)
    assert SERVICE["metadata"]["name"] != NAME, "KubeRay names both Services of a head after these"
