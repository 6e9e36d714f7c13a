"""Write docs/reproduction.md from the committed outcomes of studies, docs/reproduction/RECIPE/*.json.

python benchmarks/reproduction.py (--check: only say, by the exit code, whether it is up to date)
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zooaudit.studies.outcome import Holds
from zooaudit.studies.registry import STUDIES

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "reproduction.md", ROOT / "docs" / "reproduction"
HEAD = """# The paper's claims, tried

Made by `python benchmarks/reproduction.py` from the outcomes of [studies](reproduction) that are committed
beside this page: for each its findings (`.json`, with command, commit and hardware), its numbers
(`.parquet`) and pictures. `make paper` runs them again. What the paper says is in its tables and figures as
named; a claim is

- **reproduced** or **not reproduced** as it stands, or by the rule beside it where it leaves one open;
- **not decidable at this scale** if too few models were there, or if it is about how an encoder's
  separation changes and that encoder does not separate to begin with (median AUC under .9).

**These outcomes are older than the studies.** The paper was read again line by line, and the studies of the
encoder, figures 2, 8, 9 and 13, views and p were changed ([how, with the rules, before any
number](decisions/0021-the-papers-claims-read-again.md)); they have not run yet on a fresh zoo, and
`encoders`, `extractions`, `strengths` and `under-twins` on none at all.

Some rules were changed after a first pass, when its numbers had been seen: [which, and which verdicts
fell](log.md).

A number that the paper does not give, but an audit must know, is in the table without a verdict.

Encoder `paper` is the paper's own, `hellinger` is ours ([why](decisions/0006-hellinger-encoder.md)); which
architectures each was trained on is said with each zoo.
"""


def main() -> int:
    text = page()
    if "--check" in sys.argv:
        return int(not PAGE.exists() or PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for folder in sorted(p for p in RESULTS.iterdir() if p.is_dir()) if RESULTS.exists() else []:
        outcomes = [
            json.loads((folder / f"{name}.json").read_text())
            for name in STUDIES
            if (folder / f"{name}.json").exists()
        ]
        if outcomes:
            parts.append("\n".join(section(folder.name, outcomes)))
    return "\n".join(parts).rstrip("\n") + "\n"


def section(recipe: str, outcomes: list[dict[str, Any]]) -> Iterator[str]:
    """One recipe: what ran, a row a claim, and the pictures."""
    findings = [f for o in outcomes for f in o["findings"]]
    counts = {str(h): sum(f["holds"] == h for f in findings) for h in Holds if h is not Holds.UNCLAIMED}
    first = outcomes[0]
    yield f"## {recipe}\n"
    yield (
        f"Seed {first['seed']}, {first['dataset']}; {', '.join(f'{n} {h}' for h, n in counts.items())}."
        f" {len(outcomes)} studies, {first['hardware']}; commit"
        f" {', '.join(sorted({o['commit'] for o in outcomes}))}. Encoders learnt from models of"
        f" {trained_on(first['encoders'])}.\n"
    )
    yield "| claim | paper | here | of | | command |"
    yield "|---|---|---|---|---|---|"
    for outcome in outcomes:
        command = f"`zooaudit study {outcome['study']} --recipe {recipe}`"
        for f in outcome["findings"]:
            note = f". {f['note']}" if f["note"] else ""
            columns = (
                f"{f['claim']} ({f['source']})",
                f["paper"],
                f["ours"],
                f["n"],
                f"**{f['holds']}**{note}",
                command,
            )
            yield "| " + " | ".join(map(cell, columns)) + " |"
    excluded = {m: why for o in outcomes for m, why in o["excluded_models"].items()}
    yield f"\n{len(excluded)} models did not learn and are in no number" + (
        f": {'; '.join(f'{m} ({w})' for m, w in excluded.items())}." if excluded else "."
    )
    for outcome in outcomes:
        yield f"\n**{outcome['title']}** ({outcome['source']})\n"
        yield from (f"![{outcome['title']}](reproduction/{recipe}/{name})" for name in outcome["pictures"])


def trained_on(encoders: dict[str, list[str]]) -> str:
    """For example ``E (paper); B, C, D, E (hellinger)``."""
    return "; ".join(f"{', '.join(architectures)} ({name})" for name, architectures in encoders.items())


def cell(text: str) -> str:
    """Text that cannot end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
