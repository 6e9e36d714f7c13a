"""The files of cluster/, read once: manifests, their pods, the Dockerfile's stages, pinned versions."""

import re
from dataclasses import dataclass, field

import yaml
from packaging.utils import canonicalize_name

from tests.support.kustomized import Object, build
from tests.support.places import ROOT

CLUSTER = ROOT / "cluster"
KUBERNETES = CLUSTER / "kubernetes"
GUIDE = (CLUSTER / "README.md").read_text()
UNITS = {
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}

PINS = [
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and line[0] != "#"
]
PINNED = {canonicalize_name(name): version for name, version in PINS}


BASE = build(KUBERNETES)
"""The standing cluster and what belongs to it."""
SCORING = build(KUBERNETES / "scoring")
AUDITING = build(KUBERNETES / "scoring", KUBERNETES / "auditor")
"""The scoring service that may ask suspects: in place of SCORING."""
JOB: Object = yaml.safe_load((KUBERNETES / "rayjob.yaml").read_text())
QUEUED: Object = yaml.safe_load((KUBERNETES / "kueue" / "rayjob.yaml").read_text())
QUEUES: list[Object] = list(yaml.safe_load_all((KUBERNETES / "kueue" / "queue.yaml").read_text()))
OBJECTS = [*BASE, *SCORING, JOB]


def of_kind(kind: str, objects: list[Object] = OBJECTS) -> list[Object]:
    return [o for o in objects if o["kind"] == kind]


CLUSTER_SPEC: Object = of_kind("RayCluster")[0]["spec"]
NAME: str = of_kind("RayCluster")[0]["metadata"]["name"]
SERVICE: Object = of_kind("RayService")[0]
AUDITOR: Object = of_kind("RayService", AUDITING)[0]
SPECS: dict[str, Object] = {
    "cluster": CLUSTER_SPEC,
    "service": SERVICE["spec"]["rayClusterConfig"],
    "auditing": AUDITOR["spec"]["rayClusterConfig"],
    "queued": QUEUED["spec"]["rayClusterSpec"],
}
"""Every Ray cluster that the manifests make, by what makes it."""


@dataclass(frozen=True)
class Pod:
    """A pod as KubeRay makes it: the template, and the labels that it adds.

    Attributes:
        of: which of SPECS it belongs to.
        inside: labels that the pods that it works with, and no others, have.
    """

    of: str
    group: str
    inside: dict[str, str]
    labels: dict[str, str]
    start: dict[str, str]
    spec: Object

    @property
    def container(self) -> Object:
        found: Object = self.spec["containers"][0]
        return found

    @property
    def serves(self) -> bool:
        return self.of in {"service", "auditing"}

    def __str__(self) -> str:
        return f"{self.of}-{self.group}"


def pods() -> list[Pod]:
    """The head and one of each worker group, of every cluster."""
    return [pod for of, spec in SPECS.items() for pod in _pods(of, spec)]


def _pods(of: str, spec: Object) -> list[Pod]:
    # KubeRay names those of a service or a job, another one each time.
    cluster = NAME if of == "cluster" else f"{NAME}-x7k2p"
    inside = {"zooaudit.io/service": "scoring" if of in {"service", "auditing"} else "audits"}
    groups = [("head", "headgroup", spec["headGroupSpec"])]
    groups += [("worker", g["groupName"], g) for g in spec["workerGroupSpecs"]]
    return [
        Pod(
            of,
            name,
            inside,
            g["template"]["metadata"].get("labels", {})
            | {"ray.io/cluster": cluster, "ray.io/node-type": kind, "ray.io/group": name},
            g["rayStartParams"],
            g["template"]["spec"],
        )
        for kind, name, g in groups
    ]


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
    text = re.sub(r"^\s*#.*\n", "", (CLUSTER / "Dockerfile").read_text(), flags=re.MULTILINE).replace(
        "\\\n", " "
    )
    found: dict[str, Stage] = {}
    current = Stage("", "")
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", text.partition("FROM ")[0], re.MULTILINE))
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda argument: given[argument[1]], base)
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
