"""Tell operators of rerankers whose field no hit has: it may be misspelt."""

import logging
from typing import Final

from rerank_proxy.observe.log_limiter import LogLimiter
from rerank_proxy.observe.outcome import Applied
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.run import Run
from rerank_proxy.xcontent.target import decode

logger = logging.getLogger(__name__)

_LONGEST_NAME: Final = 256


class MisspeltFields:
    """Log fields that no hit had, each of them seldom.

    The answer of such a search is a success without hits, as native's is, and few clients read its headers.
    """

    def __init__(self) -> None:
        self._log: Final = LogLimiter()

    def tell(self, run: Run) -> None:
        """Log the fields of a search that has ended."""
        for outcome in run.outcomes:
            if isinstance(outcome, Applied) and outcome.has_no_text:
                self._tell(run.request, outcome)

    def _tell(self, request: SearchRequest, outcome: Applied) -> None:
        index, field = _searched(request)[:_LONGEST_NAME], outcome.field[:_LONGEST_NAME]
        omitted = self._log.admit((index, field))
        if omitted is None:
            return
        logger.warning(
            "none of [%d] hits of a search in [%s] has text in [%s], the [field] of its reranker, so that "
            "none of them is in the answer: is it spelt right?%s",
            outcome.window,
            index,
            field,
            f" ([{omitted}] more searches were alike)" if omitted else "",
        )


def _searched(request: SearchRequest) -> str:
    """Return the index expression of a search, for people."""
    if "pit" in request.others:
        return "a point in time"
    return "_all" if request.index is None else decode(request.index)
