"""Write docs/reproduction.md, and a page for each recipe beside its outcomes, from the committed outcomes of
studies, docs/reproduction/RECIPE/*.json.

python benchmarks/reproduction.py (--check: only say, by the exit code, whether all are up to date)
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zooaudit.studies.outcome import Holds
from zooaudit.studies.registry import STUDIES

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "reproduction.md", ROOT / "docs" / "reproduction"
WHY = tomllib.loads((RESULTS / "why.toml").read_text())
"""Of each study, in a sentence or two, why its claims hold or do not."""
FIRST = "fmnist-paper"
"""The recipe of the paper's first data set."""
OF_ENCODER = re.compile(r" \(encoder ([\w-]+)\)")
HEAD = """# The paper's claims, tried

Each study tries what the paper says in one table, figure or section. A claim is

- **reproduced** or **not reproduced** as it stands, or by a rule where the paper leaves one open. The rules
  were committed before the numbers were seen ([how the paper was
  read](decisions/0021-the-papers-claims-read-again.md)); what was changed after that is
  [listed](log.md#the-whole-paper-on-fashion-mnist);
- **not decidable at this scale** if too few models were there, or if it is about how an encoder's
  separation changes and that encoder does not separate to begin with (median AUC under .9).

Three encoders are tried. `paper` is the public record's: the loss acts on 4 outputs, similarity is measured
on the 20 numbers before them. `paper-b` has both on the 20, which is the other reading of the text.
`hellinger` is ours ([why](decisions/0006-hellinger-encoder.md)).

**These outcomes are older than the studies.** The paper was read again line by line, and the studies of the
encoder, figures 2, 8, 9 and 13, views and p were changed; the new ones have not run on a fresh zoo yet.

The table counts claims: *reproduced / tried*, then those that could not be decided. Each recipe's page has
every claim with the paper's figure, ours, n, spread, the rule and the pictures; beside it lie the numbers
(`.parquet`) and the findings with command, commit and hardware (`.json`).
"""


def main() -> int:
    written = dict(pages())
    if "--check" in sys.argv:
        stale = [p for p, text in written.items() if not p.exists() or p.read_text() != text]
        return int(bool(stale))
    for path, text in written.items():
        path.write_text(text)
    return 0


def pages() -> Iterator[tuple[Path, str]]:
    """Each page's path and text."""
    tried = {}
    for folder in sorted(p for p in RESULTS.iterdir() if p.is_dir()):
        outcomes = [
            json.loads((folder / f"{name}.json").read_text())
            for name in STUDIES
            if (folder / f"{name}.json").exists()
        ]
        if outcomes:
            tried[folder.name] = outcomes
            yield RESULTS / f"{folder.name}.md", "\n".join(detail(folder.name, outcomes)) + "\n"
    yield PAGE, "\n".join([HEAD, *summary(tried)]) + "\n"


def summary(tried: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """A row a study, a column a recipe, and why."""
    head = [f"[{recipe}](reproduction/{recipe}.md)" for recipe in tried]
    yield f"| where | what is tried | {' | '.join(head)} | why |"
    yield "|---|---|" + "---|" * len(head) + "---|"
    for name, study in STUDIES.items():
        of = {r: next((o for o in outcomes if o["study"] == name), None) for r, outcomes in tried.items()}
        if any(of.values()):
            cells = [counts(o["findings"]) if o else "-" for o in of.values()]
            yield "| " + " | ".join((study.source, study.title, *cells, cell(WHY.get(name, "")))) + " |"
    missing = [f"`{name}`" for name in STUDIES if name not in {o["study"] for o in tried.get(FIRST, [])}]
    if missing:
        yield f"\nNot run yet on `{FIRST}`: {', '.join(missing)}."
    for recipe, outcomes in tried.items():
        first = outcomes[0]
        yield (
            f"\n`{recipe}`: seed {first['seed']}, {first['dataset']}, {first['hardware']}; encoders learnt"
            f" from models of {trained_on(first['encoders'])}."
        )


def counts(findings: list[dict[str, Any]]) -> str:
    """By encoder, if there are several: claims reproduced of those tried, and those not decidable."""
    by: dict[str, list[str]] = {}
    for f in findings:
        if f["holds"] != Holds.UNCLAIMED:
            found = OF_ENCODER.search(f["claim"])
            by.setdefault(found[1] if found else "", []).append(f["holds"])
    parts = []
    for encoder, holds in by.items():
        undecided = holds.count(Holds.UNDECIDED)
        text = f"{holds.count(Holds.REPRODUCED)}/{len(holds)}" + (
            f", {undecided} undecided" if undecided else ""
        )
        parts.append(f"{encoder} {text}".strip())
    return "; ".join(parts) or "numbers only"


def detail(recipe: str, outcomes: list[dict[str, Any]]) -> Iterator[str]:
    """One recipe's page: what ran, a row a claim, and the pictures."""
    findings = [f for o in outcomes for f in o["findings"]]
    held = {str(h): sum(f["holds"] == h for f in findings) for h in Holds if h is not Holds.UNCLAIMED}
    first = outcomes[0]
    yield f"# The paper's claims on {recipe}\n"
    yield (
        f"Made by `python benchmarks/reproduction.py`; the words are explained on"
        f" [the page before](../reproduction.md). Seed {first['seed']}, {first['dataset']};"
        f" {', '.join(f'{n} {h}' for h, n in held.items())}. {len(outcomes)} studies, {first['hardware']};"
        f" commit {', '.join(sorted({o['commit'] for o in outcomes}))}. Encoders learnt from models of"
        f" {trained_on(first['encoders'])}.\n"
    )
    yield "\n".join(f"- `{c}`" for c in dict.fromkeys(o["command"] for o in outcomes)) + "\n"
    yield "A number that the paper does not give, but an audit must know, is here without a verdict.\n"
    excluded = {m: why for o in outcomes for m, why in o["excluded_models"].items()}
    yield f"{len(excluded)} models did not learn and are in no number" + (
        f": {'; '.join(f'{m} ({w})' for m, w in excluded.items())}." if excluded else "."
    )
    for outcome in outcomes:
        yield f"\n## {outcome['title']} ({outcome['source']})\n"
        yield from rows(outcome)
        yield ""
        yield from (f"![{outcome['title']}]({recipe}/{name})" for name in outcome["pictures"])


def rows(outcome: dict[str, Any]) -> Iterator[str]:
    yield "| claim | paper | here | of | |"
    yield "|---|---|---|---|---|"
    for f in outcome["findings"]:
        note = f". {f['note']}" if f["note"] else ""
        source = "" if f["source"] == outcome["source"] else f" ({f['source']})"
        columns = (f"{f['claim']}{source}", f["paper"], f["ours"], f["n"], f"**{f['holds']}**{note}")
        yield "| " + " | ".join(map(cell, columns)) + " |"


def trained_on(encoders: dict[str, list[str]]) -> str:
    """For example ``E (paper); B, C, D, E (hellinger)``."""
    return "; ".join(f"{', '.join(architectures)} ({name})" for name, architectures in encoders.items())


def cell(text: str) -> str:
    """Text that cannot end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
