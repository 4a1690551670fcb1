"""What a process of the proxy takes of the machine: processor time, memory, files, and its event loop's time.

Each process tells this of itself, under its name in the label `process`.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from rerank_proxy.observe.stderr import LossyStderr

_PREFIX: Final = "rerank_proxy_process"
_LABEL: Final = "process"
_ASKED_EVERY_S: Final = 0.25
_LAG_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From more than what the event loop's clock rounds its timers by."""
_THREADS: Final = "/proc/self/task"


class OwnProcess(Collector):
    """What this process takes. Where there is no `/proc`, what would be read there is missing.

    Args:
        name: `supervisor`, `edge-1` …, or `app`.
        clock: In seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._labels = {_LABEL: name}
        self._system = ProcessCollector("rerank_proxy", registry=None)
        self._lag = Histogram(
            "rerank_proxy_event_loop_lag_seconds",
            "Seconds by which a timer of the event loop was late, several times a second.",
            [_LABEL],
            buckets=_LAG_BUCKETS_S,
            registry=None,
        )
        self._timer: asyncio.TimerHandle | None = None

    def watch_loop(self) -> None:
        """Measure how late the running event loop is, from now on."""
        loop, lag = asyncio.get_running_loop(), self._lag.labels(**self._labels)

        def plan() -> None:
            self._timer = loop.call_later(_ASKED_EVERY_S, measure, self._clock() + _ASKED_EVERY_S)

        def measure(due: float) -> None:
            lag.observe(max(0.0, self._clock() - due))
            plan()

        plan()

    def close(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def collect(self) -> Iterator[Metric]:
        for metric in (*self._system.collect(), *_threads(), _collections()):
            metric.samples = [
                sample._replace(labels={**self._labels, **sample.labels}) for sample in metric.samples
            ]
            yield metric
        yield from self._lag.collect()
        if isinstance(sys.stderr, LossyStderr):
            lost = CounterMetricFamily(
                "rerank_proxy_log_lines_lost", "Lines of the log that could not be written.", labels=[_LABEL]
            )
            lost.add_metric([*self._labels.values()], sys.stderr.lost)
            yield lost


def _threads() -> Iterator[Metric]:
    with suppress(OSError):
        yield GaugeMetricFamily(f"{_PREFIX}_threads", "Threads of a process.", len(os.listdir(_THREADS)))


def _collections() -> Metric:
    """Return how often Python has looked for objects that only refer to each other, which takes time."""
    family = CounterMetricFamily(
        f"{_PREFIX}_gc_collections", "Runs of Python's cyclic garbage collector.", labels=["generation"]
    )
    for generation, statistics in enumerate(gc.get_stats()):
        family.add_metric([str(generation)], statistics["collections"])
    return family
