"""How studies draw: one panel an encoder, the median over draws as a line and their range as a band."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zooaudit.reporting.canvas import rendered

COLOURS = {"paper": "#d55e00", "paper-b": "#009e73", "hellinger": "#0072b2", "autoencoder": "#777777"}
MARKERS = {"paper": "o", "paper-b": "^", "hellinger": "s", "autoencoder": "x"}
MOST_IN_A_ROW = 3
PANEL_WIDTH = 4.2
"""In inches, as are the next two."""
LETTER_WIDTH, HANDLE_WIDTH = 0.07, 0.6
"""In a legend: of an average letter, and of a line with the space around it."""
Points = Mapping[float, Sequence[float]]
"""By x: the values there."""


def line(axes: Any, points: Points, label: str, colour: str, marker: str = "o", style: str = "-") -> None:
    """Medians as a line, least to most as a band."""
    xs = sorted(points)
    middle = [float(np.median(points[x])) for x in xs]
    axes.plot(xs, middle, style, marker=marker, color=colour, label=label, linewidth=1.8, markersize=4.5)
    axes.fill_between(
        xs, [min(points[x]) for x in xs], [max(points[x]) for x in xs], color=colour, alpha=0.15, linewidth=0
    )


def panels(
    titles: Sequence[str], paint: Callable[[Any, str], None], height: float = 3.3, form: str = "svg"
) -> bytes:
    """A panel a title, up to three in a row, each painted by its title; above them, one
    legend of all labels."""
    rows = -(-len(titles) // MOST_IN_A_ROW)
    columns = -(-len(titles) // rows)

    def paint_all(axes: Any) -> None:
        every = np.atleast_1d(axes).ravel()
        labelled: dict[str, Any] = {}
        for spare in every[len(titles) :]:
            spare.set_axis_off()
        for one, title in zip(every, titles, strict=False):
            paint(one, title)
            one.set_title(title, fontsize=10, loc="left", fontweight="bold")
            for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
                labelled.setdefault(label, handle)
        if labelled:
            widest = max(map(len, labelled)) * LETTER_WIDTH + HANDLE_WIDTH
            fitting = max(1, min(len(labelled), int(PANEL_WIDTH * columns / widest)))
            every[0].figure.legend(
                labelled.values(), labelled.keys(), loc="outside upper center", ncols=fitting
            )

    return rendered(
        paint_all, width=PANEL_WIDTH * columns, height=rows * height, form=form, panels=(rows, columns)
    )
