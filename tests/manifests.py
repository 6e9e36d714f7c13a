"""The files of cluster/, read once: manifests, their pods, the Dockerfile's stages, pinned versions."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "cluster"
KUBERNETES = CLUSTER / "kubernetes"
GUIDE = (CLUSTER / "README.md").read_text()
UNITS = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

PINS = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#"]
PINNED = {canonicalize_name(name): version for name, version in PINS}


def manifests() -> dict[str, list[dict[str, Any]]]:
    """Objects by file name."""
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted(KUBERNETES.glob("*.yaml"))}


OBJECTS = [o for found in manifests().values() for o in found if o["kind"] != "Kustomization"]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [o for o in OBJECTS if o["kind"] == kind]


CLUSTER_SPEC: dict[str, Any] = of_kind("RayCluster")[0]["spec"]
NAME: str = of_kind("RayCluster")[0]["metadata"]["name"]
SERVICE: dict[str, Any] = of_kind("RayService")[0]


@dataclass(frozen=True)
class Pod:
    """A pod as KubeRay makes it: the template, and the labels that it adds.

    Attributes:
        serves: whether it is one of the RayService's.
        inside: labels that the pods of its cluster, and no others, have.
    """

    group: str
    serves: bool
    inside: dict[str, str]
    labels: dict[str, str]
    start: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.spec["containers"][0]
        return found


def pods() -> list[Pod]:
    """The head and one of each worker group, of the standing cluster and then of the service's."""
    ours = SERVICE["spec"]["rayClusterConfig"]
    generated = f"{SERVICE['metadata']['name']}-x7k2p"  # KubeRay names the service's cluster, another one after each change
    label = ours["headGroupSpec"]["template"]["metadata"]["labels"]
    return _pods(CLUSTER_SPEC, NAME, False, {"ray.io/cluster": NAME}) + _pods(ours, generated, True, label)


def _pods(spec: dict[str, Any], cluster: str, serves: bool, inside: dict[str, str]) -> list[Pod]:
    groups = [("head", "headgroup", spec["headGroupSpec"])]
    groups += [("worker", g["groupName"], g) for g in spec["workerGroupSpecs"]]
    return [
        Pod(
            name, serves, inside,
            g["template"]["metadata"].get("labels", {}) | {"ray.io/cluster": cluster, "ray.io/node-type": kind, "ray.io/group": name},
            g["rayStartParams"], g["template"]["spec"],
        )
        for kind, name, g in groups
    ]  # fmt: skip


def amount(quantity: str | int) -> float:
    """``500m``, ``8Gi`` or ``1`` as a number."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(quantity))
    assert found, quantity
    return float(found[1]) * UNITS[found[2]]


@dataclass
class Stage:
    """One FROM of a Dockerfile and what follows it."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.steps if word == instruction]


def stages() -> dict[str, Stage]:
    """The Dockerfile by stage; instructions in upper case, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (CLUSTER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    current = Stage("", "")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found.setdefault(name, Stage(name, base))
        else:
            current.steps.append((word, rest.strip()))
    return found


def lineage(name: str) -> list[Stage]:
    """A stage and those that it stands on, the lowest first."""
    known = stages()
    stage = known[name]
    return [*(lineage(stage.base) if stage.base in known else []), stage]


def environment(name: str) -> dict[str, str]:
    """What ENV sets in a stage, inherited ones included."""
    lines = [line for stage in lineage(name) for line in stage.all("ENV")]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())
