"""The slow log: lines about reranked searches that took long, and where their time went."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from rerank_proxy.app.apis.context import ApiAnswer, EndedSearch, ended_searches
from rerank_proxy.app.metrics import RequestCounter
from rerank_proxy.observe.events import NAMESPACE, SLOW, event
from rerank_proxy.observe.log_lines import short
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.settings import LogSettings

logger = logging.getLogger(f"{NAMESPACE}.slow")

MAX_SOURCE: Final = 1024
"""The most characters of a body that a line shows."""
_MAX_RERANKERS: Final = 16
_NS: Final = 10**9


class _Request(NamedTuple):
    path: str
    source: bytes


_current: Final[ContextVar[_Request | None]] = ContextVar("slow_request", default=None)


class SlowLog:
    """Writes these lines.

    Args:
        counter: Counts the same requests.
    """

    def __init__(self, settings: LogSettings, counter: RequestCounter) -> None:
        self._settings = settings
        self._counter = counter

    def use(self, settings: LogSettings) -> None:
        """Use other settings, for searches that end from now on."""
        self._settings = settings

    def begin(self, path: str, body: bytes) -> None:
        """Take note of the request that this task, and those that it starts, answer."""
        if self._settings.slow_s is not None:
            _current.set(_Request(path, body[:MAX_SOURCE] if self._settings.slow_source else b""))

    def answered(self, answer: ApiAnswer) -> None:
        self._counter.answered(answer)
        if self._settings.slow_s is not None:
            for search in ended_searches(answer):
                self._ended(search)

    def refused(self, status: int) -> None:
        self._counter.refused(status)

    def passed_on(self) -> None:
        self._counter.passed_on()

    def _ended(self, search: EndedSearch) -> None:
        if search.outcome is None or search.timings is None:
            return
        took_s = search.timings.seconds
        level = self._level(took_s)
        if level is None:
            return
        times = search.timings.named()
        rerankers = [_shown(each) for each in search.outcome.rerankers[:_MAX_RERANKERS]]
        request = _current.get() or _Request("", b"")
        source = short(request.source.decode("utf-8", "backslashreplace"), MAX_SOURCE) or None
        logger.log(
            level,
            "a search took %.3f s (%s): %s %s%s",
            took_s,
            ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in times.items()),
            short(request.path),
            "; ".join(_worded(each) for each in rerankers) or search.outcome.word,
            f" source {source}" if source else "",
            extra={
                **event("slow-search", "web", times=_rounded(times), rerankers=rerankers, source=source),
                "event.dataset": SLOW,
                "event.duration": int(took_s * _NS),
                "url.path": short(request.path),
            },
        )

    def _level(self, seconds: float) -> int | None:
        warn_s, info_s = self._settings.slow_warn_s, self._settings.slow_info_s
        if warn_s is not None and seconds >= warn_s:
            return logging.WARNING
        return logging.INFO if info_s is not None and seconds >= info_s else None


def _shown(reranker: Applied | Skipped) -> dict[str, Any]:
    shown = asdict(reranker)
    for name in ("field", "counted"):
        shown.pop(name, None)
    named = {name: short(value) if isinstance(value, str) else value for name, value in shown.items()}
    return {"outcome": reranker.word, **named}


def _worded(reranker: Mapping[str, Any]) -> str:
    return " ".join(
        f"[{value}]" if name == "outcome" else f"{name}={value:.0f}" if name == "ms" else f"{name}={value}"
        for name, value in reranker.items()
    )


def _rounded(times: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(seconds, 6) for stage, seconds in times.items()}
