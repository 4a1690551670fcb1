"""Tell operators of endpoints that give no scores, once in a while for each and each reason.

Clients are told in full, and a search that may go on without scores is answered with 200: without this the
log would not say why. The words of a service are left out: they may repeat what it was sent.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rerank_proxy.inference.failures import InferenceFailedError, Why, log_words, why
from rerank_proxy.observe.events import event
from rerank_proxy.observe.log_limiter import LogLimiter

logger = logging.getLogger(__name__)

_WORDS: Final[dict[Why, str]] = {
    "queue_full": "there is no room for their texts; see [engine.queue_tokens] and [engine.queue_bytes]",
    "too_late": "more waits for the model than their time allows",
    "deadline": "they were not done in time",
    "model_failed": "its model cannot be used; /ready says why",
    "vendor_error": "its service failed",
    "rate_limit": "its rate limit is reached, or that of its service",
    "upstream_error": "Elasticsearch refuses or fails them",
}
"""The reasons that are not the caller's, and have no line of their own as a circuit breaker's has."""


class Reporter:
    """Logs failures of endpoints."""

    def __init__(self) -> None:
        self._limiter: Final = LogLimiter()

    @contextmanager
    def around(self, inference_id: str, model: str) -> Iterator[None]:
        """Stand around a call of an endpoint, and log why it failed."""
        try:
            yield
        except InferenceFailedError as failure:
            self._log(inference_id, model, failure)
            raise

    def _log(self, inference_id: str, model: str, failure: InferenceFailedError) -> None:
        reason, words = why(failure), _words(failure)
        if words is None or (omitted := self._limiter.admit((inference_id, reason, words))) is None:
            return
        more = f" ([{omitted}] more were not logged)" if omitted else ""
        logger.warning(
            "calls of inference endpoint [%s] fail: %s%s",
            inference_id,
            words,
            more,
            extra=event(
                "scores-failed", "process", failed=True, endpoint=inference_id, model=model, reason=reason
            ),
        )


class LastCall:
    """How the last call of an endpoint ended, for its status."""

    def __init__(self) -> None:
        self._words: str | None = None
        self._sent = True

    @property
    def trouble(self) -> str | None:
        """Why calls fail, as far as the last one tells; None if it did not fail, or by the caller's fault."""
        if self._words is None:
            return None
        return (
            f"the last call failed: {self._words}"
            if self._sent
            else (f"not called at present, since its calls kept failing: {self._words}")
        )

    @contextmanager
    def around(self) -> Iterator[None]:
        """Stand around a call."""
        try:
            yield
        except InferenceFailedError as failure:
            self._sent = why(failure) != "breaker_open"
            if self._sent:
                self._words = _words(failure)
            raise
        self._words = None


def _words(failure: InferenceFailedError) -> str | None:
    return log_words(failure) or _WORDS.get(why(failure))
