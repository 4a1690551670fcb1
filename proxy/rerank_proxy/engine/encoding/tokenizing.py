"""Threads on which the texts of calls are tokenised: in turns, and watched."""

import logging
from collections.abc import Mapping
from typing import Final, TypeVar

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.concurrency.turns import ClosedError, Turns
from rerank_proxy.engine.errors import EngineClosedError, EngineError, inference_error
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.observe import request_id

_log = logging.getLogger(__name__)

_THREADS: Final = 2
"""The tokenizer itself spreads a piece over the cores; a second call need not wait for a huge first one."""

_T = TypeVar("_T")


class TokenizingThreads:
    """Does the work on the texts of calls, so that one with huge texts does not hold up the others."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._turns = Turns(_THREADS, "engine-tokenize")

    async def run(self, model: str, steps: Steps[_T]) -> _T:
        """Do the steps and return their result.

        Raises:
            InferenceError: The tokenizer failed.
            EngineClosedError: `close` was called.
        """
        try:
            about = request_id.about([request_id.current.get()])  # a thread does the steps
            return await self._turns.run(self._watched(model, steps, about))
        except ClosedError:
            raise EngineClosedError("the engine was closed") from None

    def close(self) -> None:
        """End all calls. Does not wait for tokenizers, which may never return."""
        self._turns.close()

    def _watched(self, model: str, steps: Steps[_T], about: Mapping[str, object]) -> Steps[_T]:
        """Do the steps, each of them watched."""
        while True:
            try:
                with self._watchdog.tokenising(model):
                    next(steps)
            except StopIteration as end:
                result: _T = end.value
                return result
            except EngineError:
                raise
            except BaseException as error:  # Tokenizers fail in their own ways; those in Rust may panic.
                _log.exception("model [%s]: the texts of a call cannot be tokenised", model, extra=about)
                raise inference_error(error) from None
            yield
