"""Tables of what an audit costs and finds, on this machine and on another."""

from typing import Any

from table_parts import load, spread

PAPER = {"B": (0.856, 0.879), "C": (0.910, 0.873), "D": (0.865, 0.870), "E": (0.881, 0.885)}
"""Test accuracies of the paper's table 4, normal and extracted."""


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
