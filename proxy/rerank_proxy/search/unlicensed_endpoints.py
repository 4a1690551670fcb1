"""Tell operators of rerankers whose endpoint upstream has, but no licence to run."""

import logging
from typing import Final

from rerank_proxy.errors import Cause
from rerank_proxy.observe.log_limiter import LogLimiter
from rerank_proxy.upstream.protocol import UNLICENSED_FEATURE

logger = logging.getLogger(__name__)

_LONGEST_ID: Final = 256


class UnlicensedEndpoints:
    """Logs endpoints that upstream refused to run for its licence, each of them once in a while.

    The full distribution has `.rerank-v1-elasticsearch` with every licence, so that a search which names no
    endpoint finds one that refuses. The client is told upstream's own words, and they do not say what helps.
    """

    def __init__(self) -> None:
        self._limiter: Final = LogLimiter()

    def log(self, inference_id: str, cause: Cause) -> None:
        """Log the endpoint, if this is why it gave no scores."""
        shown = inference_id[:_LONGEST_ID]
        if UNLICENSED_FEATURE not in cause.metadata or (omitted := self._limiter.admit(shown)) is None:
            return
        logger.warning(
            "a search failed because upstream's licence does not allow it to run its endpoint [%s]: have a "
            "model serve this id here, by the settings [endpoints]%s",
            shown,
            f" ([{omitted}] more searches were alike)" if omitted else "",
        )
