"""An explanation as a page: one file, with the questions' images."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zooaudit import __version__
from zooaudit.data.images import to_unit
from zooaudit.errors import StoreError
from zooaudit.reporting.explained import Explanation
from zooaudit.reporting.pages import environment, put
from zooaudit.reporting.pictures import png
from zooaudit.reporting.strips import ITSELF, Scale, verdict_strip
from zooaudit.verdict import wording
from zooaudit.verdict.exchangeable import spoken
from zooaudit.verdict.twin_test import TwinTest

DIGEST_OF_CSV = """\
import csv, hashlib, json, numpy as np
rows = [json.loads(r["probabilities"]) for r in csv.DictReader(open("answers.csv"))]
print(hashlib.sha256(np.array(rows, "<f4").tobytes()).hexdigest())
"""
"""Python that computes ``answers_sha256`` from a file; docs/answers.md has it, too."""
When = Sequence[tuple[str, datetime]]
"""What happened, and when."""


def answered(times: Mapping[str, str | None]) -> When:
    """When an API's first and last answer came, as evidence records it."""
    known = [("First answer", times.get("first")), ("Last answer", times.get("last"))]
    return [(what, datetime.fromisoformat(time)) for what, time in known if time]


def write_page(
    test: TwinTest, found: Explanation, stated: Mapping[str, str | None], out: Path, when: When = ()
) -> Path:
    """Write ``render`` to ``out`` and return it.

    Raises:
        StoreError: it cannot be written.
    """
    content = render(test, found, stated, when).encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        put(out, content)
    except OSError as error:
        raise StoreError(
            f"page {out} cannot be written: {error.strerror}; choose another, or free some space"
        ) from error
    return out


def render(test: TwinTest, found: Explanation, stated: Mapping[str, str | None], when: When = ()) -> str:
    """The page as HTML; names are escaped.

    Args:
        stated: ``suspect``, ``evidence``, ``kit`` and ``victim``; where it is known,
            ``kit_sha256`` and ``answers_sha256``, the id of the ``verdict`` where a service
            keeps it, and what has to be said of a ``trial`` recipe.
        when: what is known of when the verdict came about; that the page was made now comes last.
    """
    scale = Scale.over(found.verdict.statistics)
    checks = _checks(test)
    # These are stated as checks.
    return (
        environment()
        .get_template("explained.html.j2")
        .render(
            test=test,
            found=found,
            verdict=found.verdict,
            stated=stated,
            scale_of=scale,
            strip=verdict_strip(found.verdict, scale, ITSELF),
            standing=wording.standing(found.verdict) if found.candidates else "",
            headline=wording.headline(found.verdict),
            frequency=wording.frequency(found.verdict),
            promise=wording.promise(found.verdict),
            level=f"{found.verdict.level:g}".removeprefix("0"),
            when=[(what, _utc(time)) for what, time in (*when, ("This page was made", datetime.now(UTC)))],
            checks=checks,
            cautions=[
                c for c in found.verdict.cautions if not (checks and c in spoken(test.exchangeability)[1])
            ],
            off=[row for row in checks if row["state"] in ("caution", "refused")],
            digest_of_csv=DIGEST_OF_CSV,
            version=__version__,
            images={q.index: png(to_unit(test.images[q.index])) for q in found.questions},
        )
    )


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _checks(test: TwinTest) -> list[dict[str, Any]]:
    """What was found out of the kit without any suspect."""
    return wording.checked(test.exchangeability, test.hub()) if test.twins > 1 else []
