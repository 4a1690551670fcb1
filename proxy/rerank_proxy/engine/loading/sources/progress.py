"""Say how far a download is: a bar on a terminal, elsewhere a few lines of the log, however large it is."""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

_log = logging.getLogger(__name__)

_EVERY_S: Final = 5.0
_EVERY_PART: Final = 0.1


class Progress(Protocol):
    """Is told how far a download is."""

    def add(self, count: int) -> None:
        """Count bytes that have come."""


@contextmanager
def shown(name: str, done: int, size: int) -> Iterator[Progress]:
    """Show how far a download is until it ends: in a bar on a terminal, elsewhere in the log.

    Args:
        done: The bytes that are here already.
        size: All bytes.
    """
    if not _on_terminal():
        yield LoggedProgress(name, done, size)
        return
    # Imported here: a download is rare, and rich takes a tenth of a second.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars, bars.add_task(f"fetching {name}", total=size, completed=done))


class _Bar:
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars = bars
        self._task = task

    def add(self, count: int) -> None:
        self._bars.advance(self._task, count)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class LoggedProgress:
    """Logs from time to time how far a download is.

    Args:
        done: The bytes that are here already.
        size: All bytes.
        clock: In seconds.
    """

    def __init__(self, name: str, done: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._done = done
        self.size = size
        self._clock = clock
        self._logged_at, self._logged = clock(), done
        _log.info("fetching [%s], %d MB%s", name, size // 10**6, f", from {done} bytes on" if done else "")

    def add(self, count: int) -> None:
        """Count bytes that have come."""
        self._done += count
        now = self._clock()
        part = (self._done - self._logged) / self.size
        if now - self._logged_at >= _EVERY_S or part >= _EVERY_PART or self._done == self.size:
            self._logged_at, self._logged = now, self._done
            _log.info("fetching [%s]: %d %%", self._name, 100 * self._done // self.size)


def hub_progress(name: str) -> type[Any] | None:
    """Return with what the hub's client shows the progress of a download; None: with a bar of its own.

    Args:
        name: Of what is downloaded.
    """
    if _on_terminal():
        return None
    from huggingface_hub.utils.tqdm import tqdm

    class LoggedBar(tqdm):
        """Logs bytes as they are written, and draws nothing."""

        monitor_interval = 0  # no thread that looks after the drawing

        def __init__(self, *args: Any, **options: Any) -> None:
            self._counts = options.pop("name", None) == "huggingface_hub.snapshot_download"
            self._progress: LoggedProgress | None = None
            self._turns = threading.Lock()  # files come side by side, each on a thread of its own
            # Past the client's own class, whose bars count nothing once they are disabled.
            super(tqdm, self).__init__(*args, **{**options, "disable": False, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> None:
            """Count bytes. The size is known when the first file begins, and grows with each further one."""
            with self._turns:
                self.n += n or 0
                if not self._counts or not self.total or not n:
                    return
                if self._progress is None:
                    self._progress = LoggedProgress(name, 0, int(self.total))
                self._progress.size = int(self.total)
                self._progress.add(int(n))

        def display(self, *args: Any, **options: Any) -> None:
            """Draw nothing."""

    return LoggedBar
