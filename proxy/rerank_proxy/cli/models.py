"""What the commands that score with models of this machine have in common."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rerank_proxy.cli.report import Line, Say
from rerank_proxy.engine import Engine, Scores

_LOAD_TIMEOUT_S: Final = 3600.0
"""Long enough to download a model first."""

PROGRESS_S: Final = 5.0
"""Seconds between two lines about a model that is loading."""

_ENGINE_LOG: Final = logging.getLogger("rerank_proxy.engine")
_DOWNLOAD_LOGGERS: Final = (
    "rerank_proxy.engine.loading.sources.progress",
    "rerank_proxy.engine.loading.sources.repository",
    "rerank_proxy.engine.loading.sources.source",
)


async def with_progress(work: Coroutine[Any, Any, Scores], name: str, say: Say) -> Scores:
    """Await `work`, and say from time to time that the model is still loading."""
    loop = asyncio.get_running_loop()
    began, task = loop.time(), loop.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=PROGRESS_S))[0]:
            say(Line("model", "loading", f"{name}: for {loop.time() - began:.0f} s so far"))
        return await task
    finally:
        task.cancel()


class _EngineLogHandler(logging.Handler):
    """Prints the engine's log records about downloads, and its warnings. Failures are reported anyway."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO and record.name in _DOWNLOAD_LOGGERS:
            self._say(Line("model", "loading", record.getMessage()))
        elif record.levelno == logging.WARNING:
            self._say(Line("model", "warning", record.getMessage()))


@contextmanager
def engine_log_printed(say: Say) -> Iterator[None]:
    """Print lines from the log of the engine."""
    handler, level, propagate = _EngineLogHandler(say), _ENGINE_LOG.level, _ENGINE_LOG.propagate
    _ENGINE_LOG.addHandler(handler)
    _ENGINE_LOG.setLevel(logging.INFO)
    _ENGINE_LOG.propagate = False
    try:
        yield
    finally:
        _ENGINE_LOG.propagate = propagate
        _ENGINE_LOG.setLevel(level)
        _ENGINE_LOG.removeHandler(handler)


async def score(engine: Engine, model: str, query: str, texts: Sequence[str]) -> Scores:
    """Score texts, however long the model takes to load."""
    deadline = asyncio.get_running_loop().time() + _LOAD_TIMEOUT_S
    return await engine.scores(model, query, texts, deadline)
