"""The style that pictures share: legible when shrunk, in gray and to the colour-blind.

What tells things apart is never colour alone: a model has its colour, marker and line style, a
class its colour, marker and hatch.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stages.data.files import replacing

DOTS_PER_INCH = 100

# Okabe & Ito, 2008, without the yellow, which is too pale for lines on white; an order in which
# neighbours also differ in gray. From the eighth class on, markers and hatches tell.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES: tuple[Any, ...] = ((0, (1, 1)), (0, (5, 1.5)), "solid", (0, (6, 1.5, 1, 1.5)))
HATCHES = ("", "////", "....", r"\\\\", "xxxx", "++++", "oooo", "----", "||||", "**")
INK, PALE_INK, GRID_INK = "#1a1a1a", "#5c5c5c", "#dddddd"

WIDTH = 8.4  # inches of a full picture: 840 dots, about what a page on GitHub shows
MARGIN = 0.12  # inches left of a title
PANELS_IN_A_ROW = 3
TITLE_POINTS = 12.0
STYLE: dict[str, Any] = {
    "figure.dpi": DOTS_PER_INCH,
    "figure.titlesize": TITLE_POINTS,
    "figure.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "axes.titlesize": 10.5,
    "axes.edgecolor": PALE_INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "errorbar.capsize": 4,
    "grid.color": GRID_INK,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": PALE_INK,
    "ytick.color": PALE_INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

styled = style.context(["default", STYLE])  # whatever the person's matplotlibrc says


class _Figure(Figure):
    """A figure in this style: some of it is read only when it is drawn."""

    @styled
    def draw(self, renderer: RendererBase) -> None:
        super().draw(renderer)
        self.set_layout_engine("none")  # arranged once: saving draws twice


def new_figure(title: str, width: float, height: float, *, arranged: bool = True) -> Figure:
    """An empty figure with its title; pyplot does not know it, so that nothing needs closing.

    Args:
        title: broken into lines where the figure ends.
        width: in inches.
        height: in inches.
        arranged: whether the layout is found such that nothing overlaps.
    """
    figure = _Figure((width, height), layout="constrained" if arranged else None)
    text = "\n".join(title_lines(title, width))
    height_of_title = {} if arranged else {"y": 1 - 0.08 / height, "va": "top"}
    figure.suptitle(text, x=MARGIN / width, ha="left", **height_of_title)
    return figure


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, without date or version of the software in it."""
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def title_lines(title: str, width: float) -> list[str]:
    """A title broken into lines that fit a figure so many inches wide."""
    letter = 0.66 * TITLE_POINTS / 72  # a letter of bold DejaVu Sans is 0.66 em wide on average
    return broken_lines(title, int(width / letter))


def broken_lines(text: str, letters: int) -> list[str]:
    """A line of text broken into lines of at most so many letters, never before a "%"."""
    return textwrap.wrap(text.replace(" %", "\u00a0%"), letters)


def legend_below(figure: Figure, axis: Axes, title: str | None = None) -> None:
    """Explain what an axis shows below the figure, in as many columns as fit."""
    handles, names = axis.get_legend_handles_labels()
    letter, key = 0.075, 0.75  # inches that a letter, and a key with its margins, are wide
    columns = int(figure.get_figwidth() / (letter * max(map(len, names)) + key))
    figure.legend(handles, names, loc="outside lower center", ncols=max(1, columns), title=title)


def panel_grid(
    title: str,
    titles: Sequence[str],
    y_label: str,
    height: float,
    width: float = WIDTH / PANELS_IN_A_ROW,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each model, as many side by side as the full width holds.

    Args:
        title: of the figure.
        titles: of the panels.
        y_label: of the first panel of each row; all share the axis.
        height: of a panel in inches.
        width: of a panel in inches.
    """
    columns = max(1, min(len(titles), int(WIDTH / width + 0.01)))
    rows = -(-len(titles) // columns)
    size = (max(columns * width, WIDTH / 2), rows * height + 0.5)
    figure = new_figure(title, *size)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in axes.flat[len(titles) :]:
        spare.set_axis_off()
    for axis, name in zip(axes.flat, titles, strict=False):
        axis.set_title(name)
    for axis in axes[:, 0]:
        axis.set_ylabel(y_label)
    return figure, list(axes.flat[: len(titles)])


def line_style(position: int) -> dict[str, Any]:
    """Colour and line style of the model at this position."""
    return {"color": _at(COLORS, position), "linestyle": _at(DASHES, position)}


def marker_style(position: int) -> dict[str, Any]:
    """Colour and marker of the model or class at this position."""
    return {"color": _at(COLORS, position), "marker": _at(MARKERS, position)}


def patch_style(position: int) -> dict[str, Any]:
    """Fill, edge and hatch of the class at this position."""
    color = _at(COLORS, position)
    return {"facecolor": (color, 0.25), "edgecolor": color, "hatch": _at(HATCHES, position)}


def _at(looks: Sequence[Any], position: int) -> Any:
    return looks[position % len(looks)]


def percent(share: float, decimals: int = 1) -> str:
    """A share as the tables of this project write it: 0.9245 is "92.5 %"."""
    return f"{100 * share:.{decimals}f} %"


def percent_ticks() -> FuncFormatter:
    """Write the ticks of an axis of shares in percent."""
    return FuncFormatter(lambda share, _: f"{100 * share:.6g} %")
