"""The plots of a report, each with the words for those who do not see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from rerank_proxy.relevance.evaluation.curves import Curve, curves_of
from rerank_proxy.relevance.evaluation.results import Result, Results
from rerank_proxy.relevance.numbers import MINUS, number, signed
from rerank_proxy.relevance.report.changed import differences_of
from rerank_proxy.relevance.report.drawing import (
    COLOURS,
    FAINT,
    INK,
    NARROW,
    PAPER,
    WIDE,
    drawn,
    label_below,
    legend,
    marks,
    plot,
    svg_of,
)
from rerank_proxy.relevance.report.tables import title
from rerank_proxy.relevance.statistics import Comparison

_Cost = tuple[float, float, Result]
"""Median milliseconds, the mean of the first measure, and whose they are."""
_BASE: Final = "#7f7f7f"
_BETTER, _WORSE = COLOURS[0], COLOURS[1]
_MOST_SYSTEMS: Final = 40
_MOST_BANDS: Final = 2
"""Curves with whose number bands can still be told apart."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing.

    Attributes:
        name: For files and ids.
        narrow: The same for phones.
        caption: What it shows, and how to read it.
        alternative: What one would learn from looking at it.
    """

    name: str
    caption: str
    alternative: str
    svg: str
    narrow: str = ""


def plots_of(results: Results) -> list[Plot]:
    """Return the plots that there is something to draw for."""
    if not results.others:
        return []
    curves = curves_of(results)
    made: list[Callable[[float], Plot]] = [partial(differences, results)]
    if curves:
        made.append(partial(windows, results, curves))
    if sum(each.latency is not None for each in [results.baseline, *results.others]) > 1:
        made.append(partial(costs, results))
    made.append(partial(per_query, results, best_of(results)))
    return [replace(draw(WIDE), narrow=draw(NARROW).svg) for draw in made]


def best_of(results: Results) -> Result:
    """Return the system with the largest mean, but for the baseline."""
    return max(results.others, key=lambda each: each.means[results.first])


def differences(results: Results, width: float) -> Plot:
    """Draw the difference of each system to the baseline, with its interval."""
    shown = results.others[:_MOST_SYSTEMS]
    measure, base = title(results.first), results.baseline.system.name
    with plot(width, 1.1 + 0.34 * len(shown)) as (figure, (axes,)):
        axes.axvline(0, color=_BASE, linewidth=1.2)
        for place, each in enumerate(shown):
            _interval(axes, place, each.comparisons[results.first])
        axes.set_yticks(range(len(shown)), [drawn(each.system.name, width) for each in shown])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        label_below(axes, f"difference of {measure} to {drawn(base)}: better to the right")
        svg = svg_of(figure, _id("differences", width), f"Difference of {measure} to {base}, by system")
    parts = [f"{each.system.name} {signed(each.comparisons[results.first].difference)}" for each in shown]
    caption = (
        f"Difference of {measure} to {base}, with the interval that holds the true one with a confidence of "
        "95 %. A filled point is more than chance after the correction for the number of systems; a hollow "
        "one may be chance."
    )
    return Plot("differences", caption, f"{'; '.join(parts)}.", svg)


def windows(results: Results, curves: Sequence[Curve], width: float) -> Plot:
    """Draw the mean over the size of the window, one line for each group."""
    measure, base = title(results.first), results.baseline
    sizes = sorted({each.system.window or 0 for curve in curves for each in curve.points})
    with plot(width, 4.4) as (figure, (axes,)):
        level = base.means[results.first]
        axes.axhline(level, color=_BASE, linewidth=1.6, linestyle=(0, (5, 3)), label=base.system.name)
        for curve, (colour, marker) in zip(curves, marks(len(curves)), strict=True):
            _curve(axes, results, curve, colour, marker, band=len(curves) <= _MOST_BANDS)
        _logarithmic(axes, sizes)
        label_below(axes, "rank_window_size")
        axes.set_ylabel(measure)
        legend(axes, [base.system.name, *(curve.group for curve in curves)])
        svg = svg_of(figure, _id("windows", width), f"{measure} over the size of the window")
    words = "; ".join(_curve_in_words(results, curve) for curve in curves)
    caption = (
        f"{measure} over the size of the window, beside {base.system.name} (dashed). A ring marks the "
        "smallest window that gives 90 % of the largest gain."
    )
    if len(curves) <= _MOST_BANDS:
        caption += " Bands are the intervals of the differences, with a confidence of 95 %."
    return Plot("windows", caption, f"{base.system.name} {number(base.means[results.first])}; {words}.", svg)


def costs(results: Results, width: float) -> Plot:
    """Draw quality over the median time of a search, one line for each group."""
    measure = title(results.first)
    groups: dict[str, list[_Cost]] = {}
    for each in [results.baseline, *results.others]:
        if each.latency is not None:
            point = (each.latency.client.p50, each.means[results.first], each)
            groups.setdefault(each.system.group, []).append(point)
    with plot(width, 4.4) as (figure, (axes,)):
        looks = iter(marks(len(groups)))
        for name, points in groups.items():
            look = (_BASE, "X") if name == results.baseline.system.group else next(looks)
            _costs_of(axes, name, points, *look)
        _times(axes, [x for points in groups.values() for x, _, _ in points])
        axes.margins(y=0.12)
        axes.grid(visible=True, axis="both")
        label_below(axes, "median milliseconds of a search, as the client saw it")
        axes.set_ylabel(measure)
        legend(axes, list(groups))
        svg = svg_of(figure, _id("costs", width), f"{measure} over the median time of a search")
    parts = [
        f"{each.system.name} {number(y)} in {x:.0f} ms" for points in groups.values() for x, y, each in points
    ]
    caption = (
        f"What quality costs: {measure} over the median time of a search. Numbers are sizes of the window."
    )
    return Plot("costs", caption, f"{'; '.join(parts)}.", svg)


def per_query(results: Results, shown: Result, width: float) -> Plot:
    """Draw the difference for each query, from the best to the worst."""
    measure, base = title(results.first), results.baseline.system.name
    values = differences_of(results, shown)
    ordered = sorted(values.values(), reverse=True)
    comparison = shown.comparisons[results.first]
    with plot(width, 3.2) as (figure, (axes,)):
        colours = [_BETTER if value > 0 else _WORSE for value in ordered]
        axes.bar(
            range(len(ordered)), ordered, width=1.0 if len(ordered) > 80 else 0.85, color=colours, linewidth=0
        )
        axes.axhline(0, color=_BASE, linewidth=1)
        axes.set_xlim(-0.8, len(ordered) - 0.2)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        axes.set_ylabel(f"difference of {measure}")
        label_below(axes, f"{len(ordered)} queries, from the most improved to the most harmed")
        for height, text, colour in (
            (0.95, f"{comparison.wins} better", _BETTER),
            (0.85, f"{comparison.losses} worse", _WORSE),
        ):
            where = axes.transAxes
            axes.text(0.99, height, text, transform=where, ha="right", va="top", color=colour, weight="bold")
        svg = svg_of(
            figure,
            _id("queries", width),
            f"Difference of {measure} for each query, {shown.system.name} and {base}",
        )
    caption = f"Difference of {measure} for each query: {shown.system.name} less {base}."
    alternative = (
        f"Better for {comparison.wins} queries, worse for {comparison.losses}, equal for {comparison.ties}."
    )
    return Plot("queries", caption, alternative, svg)


def _id(name: str, width: float) -> str:
    """Return what the ids in a plot begin with: a page has it in both widths."""
    return name if width == WIDE else f"{name}-narrow"


def _interval(axes: Axes, place: int, comparison: Comparison) -> None:
    """Draw a difference and its interval; the point is hollow if it may be chance."""
    colour = _BASE
    if comparison.significant:
        colour = _BETTER if comparison.difference > 0 else _WORSE
    ends = [comparison.low, comparison.high]
    axes.plot(ends, [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
    look: dict[str, Any] = {"color": colour, "markeredgewidth": 2, "markersize": 8}
    look["markerfacecolor"] = colour if comparison.significant else PAPER
    axes.plot(comparison.difference, place, "o", **look)


def _curve(axes: Axes, results: Results, curve: Curve, colour: str, marker: str, *, band: bool) -> None:
    """Draw the means of a curve, the intervals around them, and a ring at the cheapest window."""
    level = results.baseline.means[results.first]
    across = [each.system.window or 0 for each in curve.points]
    compared = [each.comparisons[results.first] for each in curve.points if each.comparisons]
    if band and len(compared) == len(across):
        low, high = [level + each.low for each in compared], [level + each.high for each in compared]
        axes.fill_between(across, low, high, color=colour, alpha=0.12, linewidth=0)
    up = [each.means[results.first] for each in curve.points]
    axes.plot(across, up, color=colour, marker=marker, label=curve.group)
    if curve.cheapest is not None:
        at = (curve.cheapest.system.window or 0, curve.cheapest.means[results.first])
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.8}
        axes.plot(*at, marker="o", markersize=15, **ring)


def _curve_in_words(results: Results, curve: Curve) -> str:
    points = (f"{number(each.means[results.first])} at {each.system.window}" for each in curve.points)
    return f"{curve.group}: {', '.join(points)}"


def _costs_of(axes: Axes, name: str, points: list[_Cost], colour: str, marker: str) -> None:
    """Draw what the systems of a group cost, from the smallest window to the largest."""
    points.sort(key=lambda point: point[2].system.window or 0)
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(xs, ys, color=colour, marker=marker, label=name)
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 9, "color": FAINT}
    for x, y, each in points if len(points) > 1 else ():
        axes.annotate(f"{each.system.window}", (x, y), (0, 8), **look)


def _times(axes: Axes, times: Sequence[float]) -> None:
    """Choose the axis of times: one of ratios where they differ much."""
    if max(times) <= 8 * min(times):
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _tick(value: float) -> str:
    """Write a mark of an axis of differences."""
    return f"{value:+.3g}".replace("-", MINUS) if abs(value) > 1e-9 else "0"


def _logarithmic(axes: Axes, places: Sequence[int]) -> None:
    """Let equal ratios be equal distances, with a mark at each place that was measured."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
