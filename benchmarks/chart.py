"""Line charts as SVG, side by side in one picture, for pages that show benchmarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_COLOURS: Final = ("#d9480f", "#1c7ed6", "#2b8a3e", "#862e9c", "#5c940d", "#495057", "#c2255c", "#f59f00")
_WIDTH: Final = 420
_HEIGHT: Final = 300
_LEFT: Final = 62
_TOP: Final = 40
_BOTTOM: Final = 44
_ROW: Final = 18

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

    def draw(self, left: float, colours: Mapping[str, str]) -> list[str]:
        """Return the elements of the chart, so far from the left."""
        points = [point for line in self.lines.values() for point in line]
        places = sorted({x for x, _ in points})
        steps = _ticks(min(y for _, y in points), max(y for _, y in points))
        frame = _Frame(left, (places[0], places[-1]), (steps[0], steps[-1]))
        parts = [_text(left + _LEFT, 22, self.title, "start", "bold")]
        for step in steps:
            y = frame.y(step)
            parts.append(_line([(frame.x(places[0]), y), (frame.x(places[-1]), y)], "#dee2e6", 1))
            parts.append(_text(left + _LEFT - 8, y + 4, f"{step:g}", "end"))
        below = _HEIGHT - _BOTTOM + 18
        parts.extend(_text(frame.x(place), below, f"{place:g}", "middle") for place in places)
        middle = (frame.x(places[0]) + frame.x(places[-1])) / 2
        parts.append(_text(middle, _HEIGHT - 8, self.across, "middle"))
        for name, line in self.lines.items():
            parts.append(
                _line([(frame.x(x), frame.y(y)) for x, y in line], colours[name.rstrip("…")], 2, name)
            )
        return parts


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        return self.left + _LEFT + (_WIDTH - _LEFT - 20) * _part(value, *self.across)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * _part(value, *self.up)


def picture(charts: Sequence[Chart], note: str) -> str:
    """Return an SVG of charts side by side, with one legend and a note below."""
    names = list(dict.fromkeys(name.rstrip("…") for chart in charts for name in chart.lines))
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}
    width, height = _WIDTH * len(charts), _HEIGHT + _ROW * (len(names) // 4 + 2) + 16
    parts = [part for at, chart in enumerate(charts) for part in chart.draw(at * _WIDTH, colours)]
    for at, name in enumerate(names):
        x, y = 30 + (at % 4) * (width - 40) / 4, _HEIGHT + 18 + _ROW * (at // 4)
        parts += [_line([(x, y - 4), (x + 22, y - 4)], colours[name], 3), _text(x + 28, y, name, "start")]
    parts.append(_text(30, height - 10, note, "start"))
    style = "text{font:12px sans-serif;fill:#343a40}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
    title = f"<title>{escape('; '.join(chart.title for chart in charts))}</title>"
    body = "\n".join([title, *parts])
    return f'{head}\n<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'


def _part(value: float, low: float, high: float) -> float:
    return 0.5 if low == high else math.log(value / low) / math.log(high / low)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, from below the lowest value to above the highest."""
    steps = [factor * 10.0**power for power in range(-6, 10) for factor in (1, 2, 5)]
    first = max(at for at, step in enumerate(steps) if step <= low)
    last = min(at for at, step in enumerate(steps) if step >= high)
    return steps[first : max(last, first + 1) + 1]


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {where}>{escape(text)}</text>"


def _line(points: Points, colour: str, width: int, name: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if name.endswith("…") else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
