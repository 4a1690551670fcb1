"""What a process holds: memory in use and resident, threads, and open files."""

import ctypes
import gc
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.memory import rss_mib

WARM_UP: Final = 1 / 3
"""Part of a run in which everything may still grow: libraries fill their own caches."""

_LEAST_SAMPLES: Final = 8
_THREADS: Final = Path("/proc/self/task")
_FILES: Final = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at a moment. What the system does not tell is 0.

    Attributes:
        at_s: Seconds since the run began.
        rss_mib: Memory that is resident. Allocators keep some of what is freed, for threads each on its own.
        live_mib: Memory that was taken from malloc and not given back: tensors, and what libraries keep.
        objects: Those that Python's garbage collector knows. Others are not counted: safetensors 0.8 keeps an
            integer for each tensor that it reads, some 40 bytes.
        threads: All, also those that Python does not know of.
        files: Open descriptors.
    """

    at_s: float
    rss_mib: float
    live_mib: float
    objects: int
    threads: int
    files: int

    @classmethod
    def now(cls, at_s: float) -> "Sample":
        """Measure, after the garbage is collected."""
        gc.unfreeze()
        gc.collect()
        threads, files = (len(list(path.iterdir())) if path.exists() else 0 for path in (_THREADS, _FILES))
        return cls(at_s, rss_mib() or 0.0, _live_mib(), len(gc.get_objects()), threads, files)


@dataclass(frozen=True, slots=True)
class Bound:
    """By how much something may seem to grow after the warm-up."""

    what: str
    value: Callable[[Sample], float]
    most: float


BOUNDS: Final = (
    Bound("MiB in use", lambda sample: sample.live_mib, 6.0),
    Bound("Python objects", lambda sample: sample.objects, 3_000),
    Bound("MiB resident", lambda sample: sample.rss_mib, 32.0),
)
"""Far less than if each episode left an engine or the models of one behind."""

COUNTS: Final = (
    Bound("threads", lambda sample: sample.threads, 0),
    Bound("open files", lambda sample: sample.files, 0),
)
"""What a later sample may not have more of than the warm-up had."""


def growth(samples: Sequence[tuple[float, float]]) -> float | None:
    """Return by how much something grew along the line that fits best, without the warm-up.

    Args:
        samples: Seconds and values.

    Returns:
        None if there are too few samples to tell.
    """
    if len(samples) < _LEAST_SAMPLES:
        return None
    steady = samples[int(WARM_UP * len(samples)) :]
    times, sizes = zip(*steady, strict=True)
    slope, _ = statistics.linear_regression(times, sizes)
    return float(slope * (times[-1] - times[0]))


def growths(samples: Sequence[Sample]) -> Sequence[tuple[Bound, float]] | None:
    """Return by how much everything grew after the warm-up; None if there are too few samples to tell."""
    found: list[tuple[Bound, float]] = []
    for bound in BOUNDS:
        grown = growth([(sample.at_s, bound.value(sample)) for sample in samples])
        if grown is None:
            return None
        found.append((bound, grown))
    end = int(WARM_UP * len(samples))
    for count in COUNTS:
        before, after = (max(map(count.value, part)) for part in (samples[:end], samples[end:]))
        found.append((count, after - before))
    return found


class _Mallinfo(ctypes.Structure):
    """What glibc's `mallinfo2` returns; `man 3 mallinfo2` tells what the fields mean."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _live_mib() -> float:
    mallinfo: Any = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if mallinfo is None:
        return 0.0
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return float(info.uordblks + info.hblkhd) / 2**20
