"""A client of Elasticsearch over HTTP/1.1, which sends just what the caller and the proxy wrote."""

import asyncio
from collections.abc import Callable
from typing import Final

from multidict import CIMultiDict

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import INLINE_BYTES, offload
from rerank_proxy.errors import ElasticsearchError, illegal_argument
from rerank_proxy.http import codings
from rerank_proxy.http.answer_reader import AnswerError, AnswerReader, TooLargeError
from rerank_proxy.http.messages import fields_of, print_head
from rerank_proxy.observe import stages
from rerank_proxy.settings import SearchSettings, UpstreamSettings
from rerank_proxy.upstream.call import UpstreamCall
from rerank_proxy.upstream.callers import CallerDigests
from rerank_proxy.upstream.faults import disconnected, unreachable
from rerank_proxy.upstream.headers import for_bodiless, for_client
from rerank_proxy.upstream.keeper import kept_pool
from rerank_proxy.upstream.protocol import Reply, TooLateError, shaped
from rerank_proxy.upstream.read_only import is_read_only
from rerank_proxy.upstream.spans import continued, describe, describe_answer
from rerank_proxy.upstream.targets import Target, TargetError, TcpTarget, node_targets

_IDLE_S: Final = 15.0
_BODILESS: Final = frozenset({"DELETE", "GET"})
"""Methods whose requests need not say that they have no body."""


class ElasticsearchClient:
    """One pool of connections to upstream, shared by all callers.

    Args:
        repeated: Called for each request that is sent a second time.
        callers: Tells callers apart; None: as this process alone does.
        node: The only node to send requests to; None, to all of them.
    """

    def __init__(
        self,
        upstream: UpstreamSettings,
        search: SearchSettings,
        repeated: Callable[[], None] = lambda: None,
        callers: CallerDigests | None = None,
        *,
        node: TcpTarget | None = None,
    ) -> None:
        self._callers = callers or CallerDigests()
        self.use(search)
        self._pool = kept_pool(
            node_targets(upstream, quiet=True) if node is None else (node,),
            upstream,
            idle_timeout_s=min(_IDLE_S, upstream.idle_timeout_s),
            max_idle=upstream.max_idle_connections,
        )
        self._repeated = repeated

    def use(self, search: SearchSettings) -> None:
        """Use other limits, for requests that begin from now on."""
        self._deadline_s = search.deadline_s
        self._max_response = search.max_response

    def for_caller(self, headers: CIMultiDict[str]) -> "CallerUpstream":
        """Return upstream as one caller sees it.

        Args:
            headers: As `for_upstream` makes them.
        """
        return CallerUpstream(self, headers, self._callers.of(headers))

    async def request(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
        """Send one request; see `rerank_proxy.upstream.protocol.Upstream`."""
        with stages.request_to("elasticsearch") as block:
            if block.span is None:
                return await self._answered(method, target, body, headers)
            describe(block.span, method, target)
            reply = await self._answered(method, target, body, continued(headers, block.span))
            describe_answer(block.span, reply.status)
            return reply

    async def _answered(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
        deadline = Deadline.of_setting("search.deadline_s", self._deadline_s)
        call = self._call(method, target, body, headers)
        try:
            async with asyncio.timeout_at(deadline.at):
                reader = await call.answer()
                reply = await self._reply(reader)
        except TimeoutError:
            stages.miss(deadline.name)
            raise TooLateError(method, target, deadline) from None
        except TargetError as failure:
            others = [each.name for each in failure.others]
            raise unreachable(failure.target.name, failure.fault, others) from None
        except AnswerError as failure:
            raise disconnected(call.asked.name, str(failure), spoke_http=failure.has_head) from None
        except TooLargeError:
            raise self._too_large() from None
        return shaped(reply, method, target)

    def _call(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> UpstreamCall:
        verb, raw_target = method.encode("ascii"), target.encode("latin-1")

        def message(node: Target) -> list[bytes]:
            fields = _fields(headers, node)
            if body or method not in _BODILESS:
                fields.append(("Content-Length", str(len(body))))
            head = print_head(b"%b %b HTTP/1.1" % (verb, raw_target), fields)
            return [head, body] if body else [head]

        first = self._pool.nodes[0].target
        printed = message(first)  # here, so that it fails before anything is sent
        self._pool.close_unused(asyncio.get_running_loop().time())
        repeated = self._repeated if _may_be_repeated(verb, raw_target) else None
        return UpstreamCall(
            self._pool,
            lambda node: printed if node is first else message(node),
            self._max_response,
            repeated,
        )

    async def _reply(self, reader: AnswerReader) -> Reply:
        assert reader.head is not None
        body, raw = b"".join(reader.pieces), fields_of(reader.head.raw)
        coding = next((value for name, value in raw if name.lower() == b"content-encoding"), None)
        if coding is not None:
            body = await offload(INLINE_BYTES + 1, self._decoded, body, coding.decode("latin-1"))
        return Reply(reader.head.status, for_client(raw), body)

    def _decoded(self, body: bytes, coding: str) -> bytes:
        """Decode what upstream compressed though it was not asked to."""
        try:
            return codings.decode(body, coding, self._max_response, of_request=False)
        except ElasticsearchError as failure:
            if failure.status == 413:
                raise self._too_large() from None
            raise AnswerError(f"sent a malformed answer: {failure}", has_head=True) from None

    def _too_large(self) -> ElasticsearchError:
        reason = (
            f"the answer of an inner search is larger than [search.max_response: "
            f"{self._max_response}] bytes; ask for a smaller [rank_window_size] or less [_source]"
        )
        return illegal_argument(reason)

    async def close(self) -> None:
        await self._pool.close()


def _fields(headers: CIMultiDict[str], node: Target) -> list[tuple[str, str]]:
    """Return the fields for a node, with its `Host` where it has to be the node's own."""
    if node.host_header is not None and "Host" in headers:
        headers = headers.copy()
        headers["Host"] = node.host_header.decode()
    fields = list(headers.items())
    if "Host" not in headers and isinstance(node, TcpTarget):
        fields.insert(0, ("Host", node.own_host.decode()))
    return fields


def _may_be_repeated(method: bytes, target: bytes) -> bool:
    """Return whether a request only reads, or ends a point in time, which is the same when it comes twice."""
    return is_read_only(method, target) or (method == b"DELETE" and target == b"/_pit")


class CallerUpstream:
    """`rerank_proxy.upstream.protocol.Upstream` for one caller: an `ElasticsearchClient` with its headers."""

    def __init__(self, client: ElasticsearchClient, headers: CIMultiDict[str], caller: bytes) -> None:
        self.caller = caller
        self._client = client
        self._headers = headers

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        headers = self._headers if body else for_bodiless(self._headers)
        return await self._client.request(method, target, body, headers)
