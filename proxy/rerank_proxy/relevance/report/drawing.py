"""How all plots look: one style, colours that colour-blind readers can tell apart, and SVG for pages.

The colours are those of Okabe and Ito; markers and dashes tell the same as the colours. The colours of text
and of lines that help the eye are variables of CSS, so that a page can be dark, with a fixed value behind
them.
"""

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#7f7f7f")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "h")
INK: Final = "#24292f"
FAINT: Final = "#6a737d"
RULE: Final = "#d8dee4"
PAPER: Final = "#ffffff"

WIDE: Final = 8.0
"""Inches of a plot for screens, and for other pages."""
NARROW: Final = 4.2
"""Those of the same plot for phones: shrunk to their width, its text can still be read."""

_NAME: Final = 5
_LINE: Final = 9
"""Characters in an inch: of a name that leaves room for a plot beside it, and of text below the axes."""
_VARIABLES: Final = {INK: "--ink", FAINT: "--faint", RULE: "--rule", PAPER: "--paper"}
_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": FAINT,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 2,
    "lines.markersize": 6.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "rerank-proxy",
    "text.color": INK,
    "text.parse_math": False,  # names of systems may have dollar signs
    "xtick.color": FAINT,
    "xtick.labelsize": 10.5,
    "ytick.color": FAINT,
    "ytick.labelsize": 10.5,
    "ytick.major.size": 0,
}


@contextmanager
def plot(width: float, height: float, *, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make a figure in the style of all plots, for the length of a block.

    Args:
        width, height: In inches of 72 pixels.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)
        yield figure, list(axes[0])


def svg_of(figure: Figure, name: str, description: str) -> str:
    """Return a figure as SVG for a page: with text as text, and what it shows for those who do not see it.

    Args:
        name: Unique among the plots of a page, as ids begin with it.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.06
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'DejaVu Sans', sans-serif", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable}, {colour})")
    label = f'<svg role="img" aria-labelledby="{name}-title"'
    title = f'<title id="{name}-title">{escape(description)}</title>'
    head, _, body = text.partition(">")
    return f"{head.replace('<svg', label, 1)}>\n {title}{body}"


def marks(number: int) -> list[tuple[str, str]]:
    """Return a colour and a marker for each of several lines."""
    return [(COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]) for at in range(number)]


def drawn(name: str, width: float = WIDE) -> str:
    """Return a name as it stands in a plot, of which a long one would leave no room for anything else."""
    longest = int(_NAME * width)
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-(longest // 2) :]}"


def label_below(axes: Axes, text: str) -> None:
    """Label the axis below, in as many lines as the text needs."""
    axes.set_xlabel(textwrap.fill(text, int(_LINE * _width(axes))))


def _width(axes: Axes) -> float:
    """Return the width of a plot with one axes."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure.get_figwidth()


def legend(axes: Axes, names: Sequence[str]) -> None:
    """Put a legend below the axes and their label, in as many rows as its names need."""
    width = _width(axes)
    shown = [drawn(name, width) for name in names]
    columns = max(1, min(len(names), int(_LINE * width) // (max(map(len, shown)) + 6)))
    lines = {str(line.get_label()): line for line in axes.lines}
    axes.legend(
        [lines[name] for name in names],  # of itself it has no names that begin with an underscore
        shown,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16 - 0.07 * axes.get_xlabel().count("\n")),
        ncols=columns,
        handlelength=2.2,
    )
