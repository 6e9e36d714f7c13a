"""cluster/monitoring: the dashboard asks for metrics and labels that are exported, under
the names that Ray gives them."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.support.manifests import CLUSTER, CLUSTER_SPEC, GUIDE, of_kind
from zooaudit.telemetry.metrics import METRICS

BOARD = json.loads((CLUSTER / "monitoring" / "grafana-dashboard.json").read_text())
SCRAPES = {
    s["job_name"]: s
    for s in yaml.safe_load((CLUSTER / "monitoring" / "prometheus.yml").read_text())["scrape_configs"]
}

COUNTERS = {m.name: set(m.tags) for m in METRICS if not m.buckets}
HISTOGRAMS = {m.name: set(m.tags) for m in METRICS if m.buckets}
RAYS = {"SessionName", "le"}
"""Labels that Ray's exporter adds, and Prometheus's own."""


def exported() -> dict[str, set[str]]:
    """Series by name with their labels, as Ray 2.60 exports them: `ray_` before, `_total` behind counters."""
    found = {f"ray_{name}_total": labels for name, labels in COUNTERS.items()}
    return found | {
        f"ray_{name}_{part}": labels
        for name, labels in HISTOGRAMS.items()
        for part in ("bucket", "sum", "count")
    }


def expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_panel_asks_for_series_and_labels_that_exist(expression: str) -> None:
    names = re.findall(r"\b(?:ray_)?zooaudit_\w+", expression)
    assert names
    known = RAYS.union(*(exported()[name] for name in names))
    selected = re.findall(r"[{,]\s*(\w+)\s*=~?", expression)
    grouped = [label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")]
    assert {*selected, *grouped} <= known
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_shown_and_described() -> None:
    shown = " ".join(expressions())
    for name in [*COUNTERS, *HISTOGRAMS]:
        assert f"ray_{name}" in shown, name
        assert f"`ray_{name}{'_total' if name in COUNTERS else ''}`" in GUIDE, name


def test_legends_name_labels_of_their_query() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), panel["title"]


def test_panels_have_their_own_ids_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place: dict[str, int] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, "Grafana's grid has 24 columns"
        taken |= cells


def test_dashboard_is_portable() -> None:
    variables = {v["name"]: v for v in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert (
        variables["session"]["query"]["query"]
        == 'label_values({__name__=~"ray_zooaudit_(models|scores)_total"}, SessionName)'
    )
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD["panels"])))
    assert used <= {*variables, "__range", "__rate_interval"}
    assert "id" not in BOARD, "an id is Grafana's own"


def test_prometheus_finds_the_pods_that_the_manifests_make() -> None:
    scrape = SCRAPES["zooaudit-kubernetes"]
    assert scrape["kubernetes_sd_configs"] == [
        {"role": "pod", "namespaces": {"names": [of_kind("Namespace")[0]["metadata"]["name"]]}}
    ]
    kept: dict[str, Any] = {
        r["source_labels"][0]: r["regex"] for r in scrape["relabel_configs"] if r.get("action") == "keep"
    }
    port = kept["__meta_kubernetes_pod_container_port_name"]
    for group in [CLUSTER_SPEC["headGroupSpec"], *CLUSTER_SPEC["workerGroupSpecs"]]:
        ports = [p["name"] for p in group["template"]["spec"]["containers"][0]["ports"]]
        assert len([p for p in ports if re.fullmatch(port, p)]) == 1
    assert "__meta_kubernetes_pod_label_ray_io_cluster" in kept


def test_prometheus_reads_the_file_that_ray_writes() -> None:
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    (files,) = (c["files"] for c in SCRAPES["zooaudit-machines"]["file_sd_configs"])
    assert files == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
