"""Write the README's tables from benchmarks/results.

python benchmarks/tables.py (--check: only say, by the exit code, whether they are up to date)
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PAPER = {"B": (0.856, 0.879), "C": (0.910, 0.873), "D": (0.865, 0.870), "E": (0.881, 0.885)}
"""Test accuracies of the paper's table 4, normal and extracted."""


def main() -> int:
    before = README.read_text()
    after = before
    for name, make in (("audit", audit_table), ("speed", speed_table)):
        block = f"<!-- table: {name} -->\n{make()}\n<!-- end -->"
        after = re.sub(rf"<!-- table: {name} -->.*?<!-- end -->", lambda _, b=block: b, after, flags=re.DOTALL)
    if "--check" in sys.argv:
        return int(after != before)
    README.write_text(after)
    return 0


def load(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def audit_table() -> str:
    """What an audit costs and finds."""
    found = load("audit_fmnist-quick")
    s, rows = found["summary"], found["rows"]
    seeds = ", ".join(str(r["seed"]) for r in rows)
    lines = [
        f"`fmnist-quick`, {len(rows)} runs (recipe seeds {seeds}), median [least, most]; {found['hardware']}; commit {found['commit']}:",
        "",
        "| | |",
        "|---|---|",
        f"| whole audit, 45 models | {spread(s['wall_s'], '{:.0f}')} s, at most {s['peak_gib']['max']:.1f} GiB |",
        f"| again on the finished store | {spread(s['rerun_s'], '{:.0f}')} s, trains nothing |",
        f"| victim's test accuracy | {spread(s['victim_accuracy'])} |",
        f"| UAP: held-out labels changed, L-inf {rows[0]['uap']['epsilon']:g} | {spread(s['fooling_rate'])} |",
        f"| AUC, piracy against homologous | {spread(s['auc_homologous'])} |",
        f"| AUC, piracy against look-alikes | {spread(s['auc_look_alike'])} |",
        *(f"| {label} called piracy | {called(rows, role)} |" for role, label in ROLES.items()),
        f"| piracy models that recover 95 % of the victim's accuracy | {spread(s['share_of_piracy_recovering_95'], '{:.0%}')} |",
        f"| models that did not learn | {spread(s['failed'], '{:.0f}')} |",
        "",
        "| test accuracy (paper) | " + " | ".join(PAPER) + " |",
        "|---|" + "---|" * len(PAPER),
        *(accuracy_row(s["accuracy"], kind, i) for i, kind in enumerate(("normal", "extracted"))),
    ]
    return "\n".join(lines)


ROLES = {"piracy": "stolen models", "homologous": "innocent homologous models", "look-alike": "innocent look-alikes"}


def called(rows: list[dict[str, Any]], role: str) -> str:
    pairs = [r["called_piracy"][role] for r in rows]
    return f"{sum(p[0] for p in pairs)} of {sum(p[1] for p in pairs)} (by run: " + ", ".join(f"{a}/{b}" for a, b in pairs) + ")"


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
        "| models an hour, whole zoo (torchvision, DataLoader, float32; the faster of 0 and 2 loader workers) "
        f"| {zoo['plain']['models_an_hour']:.0f} "
        f"| {spread(zoo['farm']['models_an_hour'], '{:.0f}')} | {spread(zoo['times_as_many_models'], '{:.1f}')} |",
        f"| UAP at L-inf {uap['epsilon_linf']:g}: seconds (ART UniversalPerturbation, 2 passes, {uap['art_points']} points) "
        f"| {spread(seconds['art-deepfool'], '{:.1f}')} | {spread(seconds['gradient'], '{:.1f}')} | {uap['times_faster']:.0f} |",
        f"| its held-out fooling rate | {spread(rates['art-deepfool'])} | {spread(rates['gradient'])} | |",
        "",
        f"Where an audit's time goes: {phases}. "
        f"Orchestration (farm start and stop) is {zoo['orchestration_share']['median']:.0%} of the run.",
    ]
    return "\n".join(lines)


def spread(s: dict[str, Any], form: str = "{:.3f}") -> str:
    """``median [least, most]``, or the one value."""
    middle, low, high = (form.format(s[k]) for k in ("median", "min", "max"))
    return middle if s["n"] == 1 or low == high else f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
