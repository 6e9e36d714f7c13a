"""How figures look: one colour, marker and line a role, the same in every figure, and figures as data URIs.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; marker and line
differ too, so that nothing rests on colour.
"""

import base64
import contextlib
import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zooaudit.extras import install, needs
from zooaudit.zoo.spec import Role

Paint = Callable[[Any], None]
"""Draws on matplotlib axes."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "svg.hashsalt": "zooaudit",
    "svg.fonttype": "path",
}
PNG_DPI = 200


NOT_DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 440 80"><rect width="440" height="80"'
    ' fill="#f4f4f4"/>'
    '<text x="220" y="45" text-anchor="middle" font-family="sans-serif" font-size="14">'
    f"not drawn: {install('report')}</text></svg>"
)


@dataclass(frozen=True)
class Look:
    """How a role is drawn; ``glyph`` is the marker in running text."""

    colour: str
    marker: str
    line: str
    glyph: str


LOOKS = {
    Role.VICTIM: Look("#000000", "*", "-", "★"),
    Role.PIRACY: Look("#d55e00", "^", "-", "▲"),
    Role.HOMOLOGOUS: Look("#0072b2", "o", "--", "●"),
    Role.LOOK_ALIKE: Look("#009e73", "s", ":", "■"),
}
FAMILIES = (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
"""The roles that suspects have, in the order in which they are shown."""


def can_draw() -> bool:
    """Whether matplotlib is there."""
    with contextlib.suppress(ImportError):
        importlib.import_module("matplotlib")
        return True
    return False


def drawn(paint: Paint, width: float = 4.4, height: float = 3.3, form: str = "svg") -> str:
    """As ``rendered``, as a data URI; without matplotlib a picture that says what draws it,
    for a page has more than figures."""
    if not can_draw():
        return data_uri(NOT_DRAWN.encode(), "image/svg+xml")
    return data_uri(rendered(paint, width, height, form), "image/svg+xml" if form == "svg" else "image/png")


def rendered(
    paint: Paint, width: float = 4.4, height: float = 3.3, form: str = "svg", panels: tuple[int, int] = (1, 1)
) -> bytes:
    """Run ``paint`` on fresh axes and return the figure as a file's content.

    Args:
        width, height: in inches.
        form: ``svg``, or ``png`` where thousands of marks would make the SVG large.
        panels: rows and columns of axes; with more than one, ``paint`` gets the array of them.
    """
    with needs("report", "a figure"):
        import matplotlib
        from matplotlib.figure import Figure
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        paint(figure.subplots(*panels))
        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(buffer, format=form, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()


def data_uri(content: bytes, media_type: str) -> str:
    """Content as a ``data:`` URI: an image without a request, whose ids and text cannot
    leak into the page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
