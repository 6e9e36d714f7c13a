"""An explanation as a page: one file, with the questions' images."""

from collections.abc import Mapping
from pathlib import Path

from zooaudit.data.images import to_unit
from zooaudit.errors import StoreError
from zooaudit.reporting.explained import Explanation
from zooaudit.reporting.pages import environment, put
from zooaudit.reporting.pictures import png
from zooaudit.reporting.strips import ITSELF, Scale, verdict_strip
from zooaudit.verdict import wording
from zooaudit.verdict.twin_test import TwinTest


def write_page(test: TwinTest, found: Explanation, told: Mapping[str, str], out: Path) -> Path:
    """Write ``render`` to ``out`` and return it.

    Raises:
        StoreError: it cannot be written.
    """
    content = render(test, found, told).encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        put(out, content)
    except OSError as error:
        raise StoreError(f"page {out} cannot be written: {error.strerror}; choose another, or free some space") from error
    return out


def render(test: TwinTest, found: Explanation, told: Mapping[str, str]) -> str:
    """The page as HTML; names are escaped.

    Args:
        told: ``suspect``, ``evidence``, ``kit`` and ``victim``.
    """
    scale = Scale.over(found.verdict.statistics)
    return environment().get_template("explained.html.j2").render(
        test=test,
        found=found,
        verdict=found.verdict,
        told=told,
        scale_of=scale,
        strip=verdict_strip(found.verdict, scale, ITSELF),
        standing=wording.standing(found.verdict) if found.candidates else "",
        headline=wording.headline(found.verdict),
        frequency=wording.frequency(found.verdict),
        promise=wording.promise(found.verdict),
        images={q.index: png(to_unit(test.images[q.index])) for q in found.questions},
    )  # fmt: skip
