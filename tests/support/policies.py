"""Network policies of the manifests."""

from typing import Any

import pytest

from tests.support.manifests import of_kind, pods


def policies(labels: dict[str, str]) -> list[dict[str, Any]]:
    """The network policies that select a pod with these labels."""
    return [
        p["spec"]
        for p in of_kind("NetworkPolicy")
        if p["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ]


def rules(labels: dict[str, str], direction: str, peer: str) -> list[tuple[dict[str, Any], set[int]]]:
    """Peers and ports that are let through; no ports means all of them."""
    allowed = [rule for p in policies(labels) for rule in p.get(direction, [])]
    return [(one, {port["port"] for port in rule.get("ports", [])}) for rule in allowed for one in rule[peer]]


PODS = pytest.mark.parametrize("pod", pods(), ids=str)
