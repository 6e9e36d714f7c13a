"""How studies draw: one panel an encoder, the median over draws as a line and their range as a band."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zooaudit.reporting.canvas import rendered

COLOURS = {"paper": "#d55e00", "hellinger": "#0072b2", "autoencoder": "#777777"}
MARKERS = {"paper": "o", "hellinger": "s", "autoencoder": "x"}
Points = Mapping[float, Sequence[float]]
"""By x: the values there."""


def line(axes: Any, points: Points, label: str, colour: str, marker: str = "o", style: str = "-") -> None:
    """Medians as a line, least to most as a band."""
    xs = sorted(points)
    middle = [float(np.median(points[x])) for x in xs]
    axes.plot(xs, middle, style, marker=marker, color=colour, label=label, linewidth=1.8, markersize=4.5)
    axes.fill_between(xs, [min(points[x]) for x in xs], [max(points[x]) for x in xs], color=colour, alpha=0.15, linewidth=0)


def panels(titles: Sequence[str], paint: Callable[[Any, str], None], height: float = 3.3, form: str = "svg") -> bytes:
    """One panel beside the other, each painted by its title; above them, one legend of all labels."""

    def paint_all(axes: Any) -> None:
        every = np.atleast_1d(axes).ravel()
        labelled: dict[str, Any] = {}
        for one, title in zip(every, titles, strict=True):
            paint(one, title)
            one.set_title(title, fontsize=10, loc="left", fontweight="bold")
            handles, labels = one.get_legend_handles_labels()
            labelled = dict(zip(labels, handles, strict=True)) | labelled
        if labelled:
            every[0].figure.legend(labelled.values(), labelled.keys(), loc="outside upper center", ncols=len(labelled))

    return rendered(paint_all, width=4.2 * len(titles), height=height, form=form, panels=(1, len(titles)))
