"""What the pods of the cluster may reach, and who reaches them."""

import re
from typing import Any

import pytest

from tests.support.manifests import GUIDE, of_kind, pods
from tests.support.policies import PODS, policies, rules

HEADS = pytest.mark.parametrize("head", [p for p in pods() if p.group == "headgroup"], ids=str)


def test_only_the_head_may_talk_to_kubernetes() -> None:
    accounts = {o["metadata"]["name"]: o for o in of_kind("ServiceAccount")}
    for pod in pods():
        mounted = accounts[pod.spec["serviceAccountName"]].get("automountServiceAccountToken", True)
        assert mounted == (pod.group == "headgroup")
        assert pod.spec.get("automountServiceAccountToken", True) == mounted


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
