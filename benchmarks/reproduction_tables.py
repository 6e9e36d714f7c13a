"""The table of the paper's claims, by recipe: how many hold, and how well its encoders separate."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
from table_parts import spread_of

from zooaudit.studies.outcome import Holds

REPRODUCTION = Path(__file__).parent.parent / "docs" / "reproduction"
ENCODERS = {
    "paper": "the paper's encoder",
    "paper-b": "the paper's, measured where it learns (`paper-b`)",
    "hellinger": "`hellinger`",
}
OF_ENCODER = re.compile(r"\(encoder ([\w-]+)")
"""In a claim: whose it is, whatever else it says of the encoder."""


def reproduction_table() -> str:
    """How many of the paper's claims hold, and the AUC, by recipe."""
    folders = sorted(p for p in REPRODUCTION.iterdir() if p.is_dir())
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
