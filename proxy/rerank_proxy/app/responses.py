"""Responses to one request: printed in the client's format, and counted, each once."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rerank_proxy.app.apis.context import ApiAnswer, MultiAnswer
from rerank_proxy.app.metrics import RequestCounter
from rerank_proxy.app.response_format import PLAIN_JSON, ResponseFormat
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http import handover
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.observe import stages
from rerank_proxy.observe.events import event
from rerank_proxy.observe.log_limiter import LogLimiter
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.headers import of_own_answer
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.splicing import Printer

logger = logging.getLogger(__name__)

_FAILURES: Final = LogLimiter()
_UNRECOGNIZED: Final = re.compile(rb"request \[/_m?search\](?= contains (?:unrecognized )?parameter)")
_UNAUTHENTICATED: Final = re.compile(
    rb'(?<= for REST request \[)(?:(?! for REST request \[|\]")[^"\\]|\\.)*+(?=\]")'
)
"""The request at the end of a reason: the name of the caller before it may hold any text."""


def passed_on(counter: RequestCounter, how: str = handover.PASS) -> Response:
    """Hand the request back to the edge, which sends it upstream as it came.

    Args:
        how: One of the words of `handover`.
    """
    counter.passed_on()
    return Response(handover.PASSED_ON, [(handover.HEADER, how)])


@dataclass(frozen=True, slots=True)
class Responder:
    """Answers one request.

    Attributes:
        path: The request's, as it came.
        format: What the client wants its response in.
        counter: Is told what became of the request.
    """

    request: Request
    path: str
    format: ResponseFormat
    counter: RequestCounter

    async def answer(self, answer: ApiAnswer) -> Response:
        """Return the response with an API's answer."""
        with stages.stage("splice"):
            response = await self._printed(answer)
        if isinstance(answer, SearchAnswer):
            answer.timings.end()
        self.counter.answered(answer)  # now that it can be written
        times = _times(answer) if self._is_asked else None
        if not times:
            return response
        told = (handover.TIMES, handover.print_times(times))
        return replace(response, headers=[told, *response.headers])

    @property
    def _is_asked(self) -> bool:
        """Return whether it is the edge that asks, which takes out what is told to it alone."""
        return handover.REQUEST_ID in self.request.headers

    async def _printed(self, answer: ApiAnswer) -> Response:
        if isinstance(answer, Reply):
            return await self.format.response(answer.status, answer.headers, answer.body)
        headers = [*(answer.headers or of_own_answer(self.request.headers)), *answer.told()]
        return await self.format.response(200, headers, answer.body)

    async def refuse(self, refusal: Reply) -> Response:
        """Return the response to a request that upstream refuses, in upstream's words.

        A refusal of the request's headers is left to upstream, which then has the client's own before it.
        """
        if is_refusal(refusal.status, refusal.body):
            return passed_on(self.counter)
        self.counter.refused(refusal.status)
        reply = as_of_the_client(refusal, self.path, self.request.target)
        return await self.format.response(reply.status, reply.headers, self.format.laid_out(reply.body))

    async def fail(self, failure: ElasticsearchError) -> Response:
        """Return the response to a request that failed here."""
        self.counter.refused(failure.status)
        headers = [*of_own_answer(self.request.headers, failure.status), *failure.headers()]
        if self._is_asked:
            headers.insert(0, (handover.REASON, failure.cause.type))
        if failure.status >= 500:
            _log_failure(failure)
        body = self.format.error(failure)
        try:
            return await self.format.response(failure.status, headers, body)
        except ElasticsearchError:  # there is no writer for the format, which is the failure
            return await PLAIN_JSON.response(failure.status, headers, body)


def _times(answer: ApiAnswer) -> Mapping[str, float]:
    """Return the seconds of each stage of a search, or of all those of a request."""
    return Timings.of_task().named() if isinstance(answer, SearchAnswer | MultiAnswer) else {}


def _log_failure(failure: ElasticsearchError) -> None:
    """Say that a request failed by no fault of the client's, once a minute for each type of error.

    The reason is left out: that of another server may repeat texts that it was sent.
    """
    if (omitted := _FAILURES.admit((failure.status, failure.cause.type))) is not None:
        more = f"; {omitted} other failures were not logged" if omitted else ""
        logger.warning(
            "a request failed with %d [%s]%s",
            failure.status,
            failure.cause.type,
            more,
            extra={
                **event("request-failed", "web", failed=True),
                "error.type": failure.cause.type,
                "http.response.status_code": failure.status,
            },
        )


def as_of_the_client(reply: Reply, path: str, target: str) -> Reply:
    """Return a refusal with the client's path where Elasticsearch names that of the inner request.

    Args:
        path: As in complaints about parameters, in which the index of the inner request is missing.
        target: Path and query, as they came: what a caller without valid credentials is told.
    """
    if reply.status == 400:
        return _with(reply, _UNRECOGNIZED, b"request [%b]", path)
    if reply.status == 401:
        return _with(reply, _UNAUTHENTICATED, b"%b", target)
    return reply


def _with(reply: Reply, pattern: re.Pattern[bytes], form: bytes, said: str) -> Reply:
    if pattern.search(reply.body) is None:
        return reply
    shown = form % Printer(pretty=False).value(said)[1:-1]
    return replace(reply, body=pattern.sub(lambda match: shown, reply.body))
