"""Show progress on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

_QUIET_S = 15.0
"""Seconds between two lines of progress, if no bar can be drawn."""


@dataclass(slots=True)
class Step:
    """A step in progress."""

    title: str
    _bar: Progress
    _task: TaskID
    _started_s: float
    _said_s: float

    def update(self, done_bytes: int, total_bytes: int | None = None) -> None:
        self._bar.update(self._task, completed=done_bytes, total=total_bytes, sized=True)
        percent = f"{100 * done_bytes // total_bytes} %, " if total_bytes else ""
        self.tick(f"{percent}{done_bytes / 1e6:.0f} MB")

    def tick(self, state: str = "still waiting") -> None:
        """Print a line from time to time, to a log or a pipe. A terminal shows a bar instead."""
        now_s = monotonic()
        if not self._bar.console.is_terminal and now_s - self._said_s > _QUIET_S:
            self._said_s = now_s
            self._bar.console.print(
                f"  {self.title}: {state}, {now_s - self._started_s:.0f} s", highlight=False
            )


class _SizeColumn(DownloadColumn):
    """Shows bytes done and total, for steps that count bytes."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["sized"] else Text()


class Reporter:
    """Shows steps as a bar on a terminal, and as plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step, and a line with the time that it took unless it fails."""
        started_s = monotonic()
        if not self.console.is_terminal:
            self.note(f"{title} …")
        with self._bar() as bar:
            yield Step(title, bar, bar.add_task(title, total=None, sized=False), started_s, started_s)
        took = f" ({monotonic() - started_s:.1f} s)"
        self.console.print(Text.assemble(("✓ ", "green"), title, (took, "dim")), soft_wrap=True)

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            _SizeColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
