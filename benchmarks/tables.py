"""Write the tables of README.md, docs/ and cluster/README.md from benchmarks/results,
studies' outcomes and ``zooaudit plan``.

python benchmarks/tables.py (--check: only say, by the exit code, whether they are up to date)
"""

import json
import re
import statistics
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from zooaudit.cli.plan import sizing_table
from zooaudit.planning.measured import DOMAINS
from zooaudit.recipes.named import get_recipe
from zooaudit.studies.outcome import Holds

sys.path.insert(0, str(Path(__file__).parent))
from large_tables import large_table
from serving_tables import serving_table, steady_table, time_table
from simulated_tables import simulated_table
from thief_tables import (
    disguises_table,
    own_defence_table,
    qurd_table,
    rivals_table,
    thieves_short,
    thieves_table,
)
from twin_tables import (
    baselines_table,
    checkpoint_table,
    curves_table,
    power_short,
    power_table,
    short_table,
    validity_table,
    victims_table,
)

HERE = Path(__file__).parent
ROOT = HERE.parent
WITH_TABLES = ("README.md", "cluster/README.md", "docs/*.md")
OTHERS = ("docs/recipes.md", "docs/reproduction.md")
"""Pages that another program writes: scripts/recipe_fields.py, benchmarks/reproduction.py."""
PAPER = {"B": (0.856, 0.879), "C": (0.910, 0.873), "D": (0.865, 0.870), "E": (0.881, 0.885)}
"""Test accuracies of the paper's table 4, normal and extracted."""


def main() -> int:
    stale = 0
    for page in pages():
        before = page.read_text()
        after = filled(before)
        stale += after != before
        if after != before and "--check" not in sys.argv:
            page.write_text(after)
    return int(bool(stale)) if "--check" in sys.argv else 0


def pages() -> list[Path]:
    """Every page that may have a table of ours."""
    return [
        p
        for form in WITH_TABLES
        for p in sorted(ROOT.glob(form))
        if p not in [ROOT / name for name in OTHERS]
    ]


def filled(text: str) -> str:
    """``text`` with each table between ``<!-- table: NAME -->`` and ``<!-- end -->`` (or
    ``<!-- /table -->``) made anew."""

    def made(block: re.Match[str]) -> str:
        if block["name"] not in TABLES:
            raise SystemExit(f"there is no table {block['name']!r}; expected one of {', '.join(TABLES)}")
        return f"{block['start']}\n{table(block['name'])}\n{block['end']}"

    return re.sub(
        r"^(?P<start><!-- table: (?P<name>[\w-]+) -->)\n.*?(?P<end><!-- (?:end|/table) -->)",
        made,
        text,
        flags=re.DOTALL | re.MULTILINE,
    )


@cache
def table(name: str) -> str:
    """Made once, however many pages have it."""
    return TABLES[name]()


def load(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def elsewhere() -> str:
    """The same audit on another machine; the plan's seconds a model are not that one's."""
    found = load("audit_fmnist-quick_elsewhere")
    rows, took = found["rows"], spread(found["summary"]["wall_s"], "{:.0f}")
    stolen, homologous, look_alikes = (called(rows, role, "stolen") for role in ROLES)
    where = f"{found['hardware']}; commit {found['commit']}, n = {len(rows)}, a few short tests beside it"
    return (
        f"On another machine ({where}) the same audit took {took} s; of stolen models {stolen} were called"
        f" stolen, of innocent ones {homologous} and {look_alikes} (homologous, look-alikes)."
    )


def audit_table() -> str:
    """What an audit costs and finds."""
    found = load("audit_fmnist-quick")
    s, rows = found["summary"], found["rows"]
    seeds = ", ".join(str(r["seed"]) for r in rows)
    lines = [
        (
            f"`fmnist-quick`, {len(rows)} runs (recipe seeds {seeds}), median [least, most];"
            f" {found['hardware']}; commit {found['commit']}:"
        ),
        "",
        "| | |",
        "|---|---|",
        (
            f"| whole audit, {rows[0]['models']['trained']} models "
            f"| {spread(s['wall_s'], '{:.0f}')} s, at most {s['peak_gib']['max']:.1f} GiB |"
        ),
        f"| again on the finished store | {spread(s['rerun_s'], '{:.0f}')} s, trains nothing |",
        f"| victim's test accuracy | {spread(s['victim_accuracy'])} |",
        (
            f"| UAP: held-out labels changed, L-inf {rows[0]['uap']['epsilon']:g} |"
            f" {spread(s['fooling_rate'])} |"
        ),
        f"| the victim itself, asked as a suspect | {', '.join(r['victim_itself'] for r in rows)} |",
        *(
            f"| {label} called stolen by the twin test, level {rows[0]['level']:g} |"
            f" {called(rows, role, 'stolen')} |"
            for role, label in ROLES.items()
        ),
        *(
            f"| {label} called piracy by the paper's test | {called(rows, role, 'piracy')} |"
            for role, label in ROLES.items()
        ),
        (
            "| AUC of the paper's similarity, piracy against homologous, look-alikes "
            f"| {spread(s['auc_homologous'])}, {spread(s['auc_look_alike'])} |"
        ),
        (
            "| piracy models that recover 95 % of the victim's accuracy |"
            f" {spread(s['share_of_piracy_recovering_95'], '{:.0%}')} |"
        ),
        f"| models that did not learn | {spread(s['failed'], '{:.0f}')} |",
        "",
        "| test accuracy (paper) | " + " | ".join(PAPER) + " |",
        "|---|" + "---|" * len(PAPER),
        *(accuracy_row(s["accuracy"], kind, i) for i, kind in enumerate(("normal", "extracted"))),
    ]
    return "\n".join(lines)


ROLES = {
    "piracy": "stolen models",
    "homologous": "innocent homologous models",
    "look-alike": "innocent look-alikes",
}


def called(rows: list[dict[str, Any]], role: str, what: str) -> str:
    pairs = [r[f"called_{what}"][role] for r in rows]
    detail = " (by run: " + ", ".join(f"{a}/{b}" for a, b in pairs) + ")" if len(pairs) > 1 else ""
    return f"{sum(p[0] for p in pairs)} of {sum(p[1] for p in pairs)}{detail}"


def accuracy_row(cells: dict[str, Any], kind: str, column: int) -> str:
    shown = [f"{cells[f'{a} {kind}']['median']:.3f} ({PAPER[a][column]:.3f})" for a in PAPER]
    return f"| {kind} | " + " | ".join(shown) + " |"


def speed_table() -> str:
    """Against the plain way and against ART."""
    zoo, uap = load("zoo_build"), load("uap_methods")
    seconds, rates = uap["seconds"], uap["fooling_rate"]
    phases = "; ".join(f"{name} {s['median']:.0f} s" for name, s in zoo["where_the_time_goes_s"].items())
    lines = [
        "| against the public way | theirs | ours | ratio |",
        "|---|---|---|---|",
        (
            "| models an hour, whole zoo (torchvision, DataLoader, float32; the faster of 0 and 2 loader"
            f" workers) | {zoo['plain']['models_an_hour']:.0f} |"
            f" {spread(zoo['farm']['models_an_hour'], '{:.0f}')} |"
            f" {spread(zoo['times_as_many_models'], '{:.1f}')} |"
        ),
        (
            f"| UAP at L-inf {uap['epsilon_linf']:g}: seconds (ART UniversalPerturbation, 2 passes,"
            f" {uap['art_points']} points) | {spread(seconds['art-deepfool'], '{:.1f}')} |"
            f" {spread(seconds['gradient'], '{:.1f}')} | {uap['times_faster']:.0f} |"
        ),
        f"| its held-out fooling rate | {spread(rates['art-deepfool'])} | {spread(rates['gradient'])} | |",
        "",
        (
            f"Where an audit's time goes: {phases}. "
            f"Orchestration (farm start and stop) is {zoo['orchestration_share']['median']:.0%} of the run."
        ),
    ]
    return "\n".join(lines)


def cluster_table() -> str:
    """What the farm and the store cost beside training."""
    farm, read = load("farm_overhead"), load("answers_read")
    overhead, speed = farm["overhead_ms_a_model"], read["speed_against_plain"]
    memory = farm["driver_mib_by_specs"]
    lines = [
        (
            f"Measured on {farm['hardware']}, the S3 server (SeaweedFS) on the same two cores; median [least,"
            " most]:"
        ),
        "",
        "| | |",
        "|---|---|",
        *(
            f"| beside training, a model ({farm['models']:,} tiny models, {place}; n = {s['n']}) |"
            f" {spread(s, '{:.0f}')} ms |"
            for place, s in overhead.items()
        ),
        (
            "| driver's memory, by number of models |"
            f" {', '.join(f'{int(n):,}: {mib:.0f} MiB' for n, mib in memory.items())} |"
        ),
        (
            f"| reading the answers of {read['models']} models from SeaweedFS, checked, against plain files"
            f" (n = {speed['S3']['n']}) | {spread(speed['S3'], '{:.2f}')} of their speed |"
        ),
        f"| the same once the local cache has them | {spread(speed['S3, cached'], '{:.2f}')} |",
    ]
    return "\n".join(lines)


def sizing() -> str:
    """What larger audits take."""
    recipe = get_recipe("fmnist-paper")
    return sizing_table(recipe, DOMAINS[recipe.dataset])


ENCODERS = {
    "paper": "the paper's encoder",
    "paper-b": "the paper's, measured where it learns (`paper-b`)",
    "hellinger": "`hellinger`",
}
OF_ENCODER = re.compile(r"\(encoder ([\w-]+)")
"""In a claim: whose it is, whatever else it says of the encoder."""


def reproduction_table() -> str:
    """How many of the paper's claims hold, and the AUC, by recipe."""
    folders = sorted(p for p in (ROOT / "docs" / "reproduction").iterdir() if p.is_dir())
    claims = {folder: _claims(folder) for folder in folders}
    encoders = [e for e in ENCODERS if any(of == e for found in claims.values() for of, _ in found)]
    head = [
        *(ENCODERS[e] for e in encoders),
        "no encoder",
        "AUC of piracy against homologous models",
        "against look-alikes",
    ]
    lines = [f"| claims of the paper that hold | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for folder, found in claims.items():
        counts = [_held([holds for of, holds in found if of == e]) for e in (*encoders, "")]
        rows = pq.read_table(folder / "auc.parquet").to_pylist()
        aucs = [
            "; ".join(
                f"{e} {spread_of(values)}"
                for e in encoders
                if (values := [r[c] for r in rows if r["encoder"] == e])
            )
            for c in ("auc_homologous", "auc_look_alike")
        ]
        lines.append(f"| [`{folder.name}`](reproduction/{folder.name}.md) | {' | '.join((*counts, *aucs))} |")
    return "\n".join(lines)


def _claims(folder: Path) -> list[tuple[str, str]]:
    """Of each claim its encoder, "" for none, and whether it holds."""
    findings = [
        f
        for p in folder.glob("*.json")
        for f in json.loads(p.read_text())["findings"]
        if f["holds"] != Holds.UNCLAIMED
    ]
    return [(found[1] if (found := OF_ENCODER.search(f["claim"])) else "", f["holds"]) for f in findings]


def _held(holds: list[str]) -> str:
    undecided = holds.count(Holds.UNDECIDED)
    return f"{holds.count(Holds.REPRODUCED)} of {len(holds)}" + (
        f", {undecided} undecided" if undecided else ""
    )


def sweep_table() -> str:
    """A sweep on stored answers against asking anew."""
    found = load("sweep")
    models = found["anew_by_points"]["100"]["models"]
    stored, asked, trained = (
        found["stored_s"],
        found["times_faster_than_asking"],
        found["times_faster_than_training"],
    )
    place = f"{found['hardware']}; commit {found['commit']}"
    once = found["anew_by_points"]["100"]["seconds"]
    anew = f"{found['anew_s'] / 60:.0f} min, {spread(asked, '{:.0f}')} times as long"
    with_asking = f"{found['anew_s'] / (stored['median'] + once):.1f} times"
    retrained = f"{found['trained_s'] / 3600:.0f} h, {spread(trained, '{:,.0f}')} times as long"
    rows = {
        f"{found['trials']} trials over N and top-k, {models} models of `{found['recipe']}`; {place}": "",
        "---": "---",
        f"`zooaudit sweep answers`, Ray's start included (n = {stored['n']})": (
            f"{spread(stored, '{:.0f}')} s"
        ),
        "all models asked anew for each trial, counted from three (N = 10, 50, 100)": anew,
        f"the same, with the {once:.0f} s that asking once takes added to the sweep": with_asking,
        "and the zoo trained anew: counted from records of a busy machine, an upper bound": retrained,
    }
    return "\n".join(f"| {what} | {value} |" for what, value in rows.items())


WAITING = {
    "--version": "`zooaudit --version`",
    "score --help": "`zooaudit score --help`",
    "audit, without Ray": "`zooaudit audit --recipe digits --farm serial`, whole",
    "audit, on Ray": "`zooaudit audit --recipe digits`, whole, on a Ray of its own",
    "serve, first line": "`zooaudit serve`: until its first line",
    "serve, ready": "until it is ready",
    "serve, first page": "until the console's page is there",
    "serve, ended after SIGTERM": "from SIGTERM until it has ended",
}


def waiting_table(found: dict[str, Any]) -> str:
    """How long a person waits."""
    rows = [
        f"| {result} | {found['seconds'][name]['n']} | {spread(found['seconds'][name], '{:.2g}')} |"
        for name, result in WAITING.items()
    ]
    head = (
        f"Seconds, median [least, most]; {found['hardware']}; commit {found['commit']}; `{found['command']}`:"
    )
    return "\n".join([head, "", "| | n | s |", "|---|---|---|", *rows])


TABLES = {
    "audit": audit_table,
    "audit-elsewhere": elsewhere,
    "speed": speed_table,
    "waiting": lambda: waiting_table(load("waiting")),
    "cluster": cluster_table,
    "sizing": sizing,
    "simulated": lambda: simulated_table(load("simulated_cluster")),
    "reproduction": reproduction_table,
    "validity": validity_table,
    "validity-victims": victims_table,
    "short": short_table,
    "power": power_table,
    "power-short": power_short,
    "power-curves": curves_table,
    "baselines": baselines_table,
    "baselines-thieves": lambda: baselines_table("thieves"),
    "rivals": rivals_table,
    "checkpoint": checkpoint_table,
    "disguises": disguises_table,
    "thieves": thieves_table,
    "thieves-short": thieves_short,
    "own-defence": own_defence_table,
    "qurd": qurd_table,
    "large": lambda: large_table(
        load("large_data"),
        load("large_data_kit") if (HERE / "results" / "large_data_kit.json").exists() else None,
    ),
    "sweep": sweep_table,
    "serving": lambda: serving_table(load("serving"), spread),
    "serving-time": lambda: time_table(load("serving")),
    "serving-steady": lambda: steady_table(load("serving_steady"), spread),
}


def spread(s: dict[str, Any], form: str = "{:.3f}") -> str:
    """``median [least, most]``, or the one value."""
    middle, low, high = (form.format(s[k]) for k in ("median", "min", "max"))
    return middle if s["n"] == 1 or low == high else f"{middle} [{low}, {high}]"


def spread_of(values: list[float]) -> str:
    return spread(
        {"n": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}
    )


if __name__ == "__main__":
    sys.exit(main())
