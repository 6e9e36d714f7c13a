"""The result of an audit, as lines of text."""

import json
from pathlib import Path
from typing import Any, TextIO

from zooaudit.auditing import results
from zooaudit.cli.terminal import duration
from zooaudit.verdict import wording
from zooaudit.zoo.spec import Role


def print_audit(done: results.Audit, page: Path, summary: dict[str, Any], as_json: bool, out: TextIO) -> None:
    if as_json:
        print(json.dumps(summary, allow_nan=False), file=out)
        return
    counts = {r: sum(s.spec.role is r for s in done.suspects) for r in Role}
    auc = {k: _number(v) for k, v in summary["auc"].items()}
    uap = done.uap
    print(summary["finding"]["text"].replace("see the checks below", "see the report"), file=out)
    print(
        f"victim accuracy {summary['victim']['accuracy']:.3f}; UAP fools {uap.fooling_rate:.0%} at {uap.norm}"
        f" {uap.epsilon:g}",
        file=out,
    )
    _print_twin_test(summary, out)
    roles = (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
    for role in roles:
        _print_family(role, *done.called_stolen(role), "stolen", out)
    print(
        f"the paper's test, AUC against homologous {auc['homologous']}, against look-alikes"
        f" {auc['look_alike']}",
        file=out,
    )
    for role in roles:
        _print_family(role, done.accused(role), counts[role], "piracy", out)
    if done.by_paper is not None:
        print(
            f"  (encoder {done.recipe.encoder.name}; the paper's own gives"
            f" {_number(done.by_paper.auc(Role.HOMOLOGOUS))} and"
            f" {_number(done.by_paper.auc(Role.LOOK_ALIKE))})",
            file=out,
        )
    models = ", ".join(f"{count} {what}" for what, count in summary["models"].items())
    print(
        f"models: {models}; took {duration(summary['seconds'])} in all, peak"
        f" {summary['peak_rss_bytes'] / 2**30:.1f} GiB",
        file=out,
    )
    print(f"kit {done.kit_id}\nreport {page}", file=out)


def _print_twin_test(summary: dict[str, Any], out: TextIO) -> None:
    test, itself = summary["twin_test"], summary["victim_itself"]
    place = f", rank {itself['rank']} of {itself['twins'] + 1}" if itself["rank"] else ""
    made_of = f"{test['twins']} twins, {sum(test['references'].values())} references"
    print(
        f"twin test, level {summary['level']:g}, {made_of}; the victim itself: {itself['headline']}{place}",
        file=out,
    )
    weak = wording.WEAK if summary["level"] > wording.WEAK_ABOVE else ""
    print(f"  at that level {wording.in_cases(summary['level'])}{weak}", file=out)
    if test["accuses_nobody"]:
        print(f"  this kit accuses nobody: {test['accuses_nobody']}", file=out)
    for caution in itself["cautions"]:
        print(f"  caution: {caution}", file=out)


def _print_family(role: Role, called: int, of: int, what: str, out: TextIO) -> None:
    print(
        f"  {role:<11} {called:>3} of {of} called {what}" + ("" if role.stolen else "  (all innocent)"),
        file=out,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
