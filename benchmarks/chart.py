"""Line charts as SVG, side by side in one picture, for pages that show benchmarks: drawn as reports draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from rerank_proxy.relevance.report.drawing import FAINT, marks, plot, svg_of

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one another. Axes have a logarithmic scale, as sizes and times have wide ranges.

    Attributes:
        lines: Points by name; those of a name with `…` behind it are dashed, in its colour.
    """

    title: str
    across: str
    lines: Mapping[str, Points]

    def draw(self, axes: Axes, looks: Mapping[str, tuple[str, str]]) -> None:
        """Draw the chart, with a colour and a marker for each name."""
        for name, points in self.lines.items():
            colour, marker = looks[name.rstrip("…")]
            style = (0, (4, 3)) if name.endswith("…") else "-"
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=colour, marker=marker, markersize=5, linestyle=style, label=name)
        axes.set_title(self.title, fontsize=11)
        axes.set_xlabel(self.across)
        axes.set_xscale("log")
        axes.set_yscale("log")
        places = sorted({x for points in self.lines.values() for x, _ in points})
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def picture(charts: Sequence[Chart], note: str) -> str:
    """Return an SVG of charts side by side, with one legend below and a note above."""
    names = list(dict.fromkeys(name.rstrip("…") for chart in charts for name in chart.lines))
    looks = dict(zip(names, marks(len(names)), strict=True))
    with plot(4.6 * len(charts), 4.3, columns=len(charts)) as (figure, all_axes):
        for chart, axes in zip(charts, all_axes, strict=True):
            chart.draw(axes, looks)
        lines = {line.get_label(): line for axes in all_axes for line in axes.get_lines()}
        shown = [lines[name if name in lines else f"{name}…"] for name in names]
        figure.legend(shown, names, loc="outside lower center", ncols=4, fontsize=10)
        # Above, since the layout gives it no room of its own beside a legend below.
        figure.suptitle(note, x=0.01, ha="left", fontsize=9.5, color=FAINT, weight="normal")
        return svg_of(figure, "chart", "; ".join(chart.title for chart in charts)) + "\n"
