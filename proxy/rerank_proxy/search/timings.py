"""The time that a search, or a request of several, has taken, by stages."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Final, Self

from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import STAGES, Stage

OWN: Final = "own"
"""What is left of the whole time: the proxy's own work, and waiting for the event loop."""

_Interval = tuple[float, float]
_MANY: Final = 512
"""From so many intervals on they are united now and then: most of those of many searches overlap."""


class Timings:
    """When the stages of one search were under way. Simultaneous ones of the same stage count once.

    Stages of different branches of a tree may overlap, so their sum may exceed the whole.

    Args:
        clock: In seconds; that of `stages`.
        within: The timings of the request that the search is one of.

    Attributes:
        missed: The names of the limits of time that were reached.
    """

    def __init__(self, clock: Callable[[], float] = stages.clock, within: "Timings | None" = None) -> None:
        self._clock = clock
        self._within = within
        self._began = clock()
        self._ended: float | None = None
        self._intervals: dict[Stage, list[_Interval]] = {stage: [] for stage in STAGES}
        self._unite_at = _MANY
        self.missed: set[str] = set()

    @classmethod
    def of_task(cls) -> Self:
        """Return the timings of the current task. Without any, new ones become its."""
        times = stages.current().times
        return times if isinstance(times, cls) else cls._entered(cls())

    @classmethod
    def of_part(cls) -> Self:
        """Return new timings for this task, which does one of several searches of a request.

        Those of the request hear of its stages, too.
        """
        return cls._entered(cls(within=cls.of_task()))

    @classmethod
    def _entered(cls, timings: Self) -> Self:
        activity = stages.current()
        stages.enter(replace(activity, times=timings))
        return timings

    @classmethod
    def of_what_goes_on(cls) -> Self:
        """Return new timings, with what has been so far, for this task, which goes on without its request."""
        earlier = cls.of_task()
        later = cls(earlier._clock)
        later._began = earlier._began
        later._intervals = {stage: [*intervals] for stage, intervals in earlier._intervals.items()}
        return cls._entered(later)

    def add(self, stage: Stage, began: float, ended: float) -> None:
        """Note that a stage was under way from one time to another."""
        intervals = self._intervals[stage]
        intervals.append((began, ended))
        if len(intervals) >= self._unite_at:
            self._intervals[stage] = united = _united(intervals)
            self._unite_at = max(self._unite_at, 2 * len(united))
        if self._within is not None:
            self._within.add(stage, began, ended)

    def miss(self, limit: str) -> None:
        """Note that something was not done in time."""
        self.missed.add(limit)
        if self._within is not None:
            self._within.miss(limit)

    def end(self) -> None:
        """Let the whole time end now, if it has not ended."""
        if self._ended is None:
            self._ended = self._clock()

    @property
    def seconds(self) -> float:
        """The whole time, until `end` or until now."""
        return (self._clock() if self._ended is None else self._ended) - self._began

    def named(self) -> dict[str, float]:
        """Return seconds by stage, `own` included: what is left of the whole time."""
        named: dict[str, float] = {stage: _length(self._intervals[stage]) for stage in STAGES}
        named[OWN] = max(0.0, self.seconds - _length(chain.from_iterable(self._intervals.values())))
        return named


def _united(intervals: Iterable[_Interval]) -> list[_Interval]:
    """Return the same moments in intervals that do not overlap, the earliest first."""
    united: list[_Interval] = []
    for began, ended in sorted(intervals):
        if united and began <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], ended))
        else:
            united.append((began, ended))
    return united


def _length(intervals: Iterable[_Interval]) -> float:
    return sum(ended - began for began, ended in _united(intervals))
