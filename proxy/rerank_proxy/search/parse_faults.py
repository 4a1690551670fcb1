"""Find the faults of a body that only upstream can see, and report them as native does.

Native parses a whole body before it does anything. Here query clauses, sorts and most members of the body are
opaque, and their faults come to light when upstream refuses an inner search, whose text is not the client's.
Then upstream is probed with the client's own text: each value stands at its line and column in a body that is
refused in any case, so that nothing is searched. The error for a value inside the retriever is passed to the
grammar of retrievers, which wraps it as it wraps the faults that it finds itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rerank_proxy.errors import Cause
from rerank_proxy.search.failures import cause_of
from rerank_proxy.search.language.grammar import parse_retriever
from rerank_proxy.search.language.opaque_values import OpaqueValue, Probe, overlay, probe_body, probes
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.positions import offset_of, source_of
from rerank_proxy.xcontent.source import Node, parse
from rerank_proxy.xcontent.splicing import Printer

MAX_PROBES: Final = 16
"""The most probes that are sent for one tree. Most trees need one."""

_TARGET: Final = "/_search?size=-1"
"""A target that Elasticsearch refuses once it has parsed the body (``RestSearchAction#parseSearchRequest``).

Probes are sent by GET, which means the same to Elasticsearch: POSTed searches may be coalesced, and would
wait for others.
"""
_NOTHING_FOUND: Final = "[size] parameter cannot be negative, found [-1]"
_LEAF: Final = b'"retriever":{"standard":{}}'
_QUERY: Final = b'"query":{"match_all":{}}'
_VALIDATION: Final = "action_request_validation_exception"
_STOP: Final = b"0}"
_STOPPED: Final = "Unknown key for a VALUE_NUMBER in [retriever]."
_AT_RUN_TIME: Final = "search_phase_execution_exception"
_PARSER_STATUSES: Final = (400, 500)
"""The second is that of Java exceptions that are not wrapped; the parsers of retrievers would wrap them."""
_position: Final = re.compile(r"\[([0-9]{1,9}):([0-9]{1,9})\] ")


def may_be_parse_fault(refusal: Reply) -> bool:
    """Return whether a search may have been refused because of a fault in the client's body."""
    error = _error(refusal)
    return error is not None and error["type"] != _AT_RUN_TIME


async def find_parse_fault(
    body: bytes, upstream: Upstream, style: str = ""
) -> ParseError | UpstreamRefusedError | None:
    """Return the first fault in a body in which the grammar found none; None if upstream finds none either.

    Args:
        style: The parameters of the client's query string that say how errors are printed.

    Raises:
        ElasticsearchError: 5xx, upstream does not answer.
    """
    finder = _FaultFinder(body, upstream)
    in_tree = await finder.fault_in_tree()
    return await finder.fault_beside_tree(style, before=in_tree is not None) or in_tree


async def find_earlier_fault(
    body: bytes, upstream: Upstream, target: str
) -> ParseError | UpstreamRefusedError | None:
    """Return the fault for which native refuses a search before it validates it; None if there is none.

    Args:
        body: That of a search which is not valid, and in which the grammar found no fault.
        target: Of the client's search. Native reads its parameters before it validates them, too.

    Raises:
        ElasticsearchError: 5xx, upstream does not answer.
    """
    finder = _FaultFinder(body, upstream)
    in_tree = await finder.fault_in_tree()
    if in_tree is not None:
        return await finder.fault_beside_tree("", before=True) or in_tree
    return await finder.fault_of_request(target)


class _FaultFinder:
    """Probes upstream for the faults of one body."""

    def __init__(self, body: bytes, upstream: Upstream) -> None:
        self._body = body
        self._root = parse(body)
        self._retriever = self._root.members["retriever"]
        self._upstream = upstream

    async def fault_in_tree(self) -> ParseError | None:
        """Return the first fault in an opaque value of the tree, wrapped in the errors of its retrievers."""
        first: tuple[int, OpaqueValue, Cause] | None = None
        for probe in probes(self._retriever)[:MAX_PROBES]:
            if first is not None and probe.start > first[0]:
                break
            answer = await self._ask(_TARGET, probe_body(self._root.body, probe))
            fault = self._fault(probe, answer)
            if fault is not None and (first is None or fault[0] < first[0]):
                first = fault
        return None if first is None else self._enclosed(*first)

    async def fault_beside_tree(self, style: str, *, before: bool) -> UpstreamRefusedError | None:
        """Return the first fault in the body's other members.

        Args:
            before: Consider only the members before the retriever.
        """
        body, members = self._root.body, self._root.members
        if before:
            nothing_there = next(iter(members)) == "retriever"
            text = body[: self._retriever.start] + _STOP
        else:
            nothing_there = len(members) == 1
            text = self._with_stand_in(_LEAF)
        if nothing_there:
            return None
        answer = await self._ask(f"{_TARGET}&{style}" if style else _TARGET, text)
        error = _error(answer)
        if error is None or error.get("reason") in (_NOTHING_FOUND, _STOPPED):
            return None
        return UpstreamRefusedError(answer)

    async def fault_of_request(self, target: str) -> UpstreamRefusedError | None:
        """Return what is wrong with parameters and the body's other members before they are validated.

        What is sent has a retriever and a query, which upstream refuses to search together.
        """
        members = self._root.members
        stand_in = _LEAF
        if (
            "sub_searches" in members
        ):  # they are a query if there are some, and allow no other if there are none
            if not members["sub_searches"].items:
                return None
        elif "query" not in members:
            stand_in += b"," + _QUERY
        answer = await self._ask(target, self._with_stand_in(stand_in))
        error = _error(answer)
        return None if error is None or error["type"] == _VALIDATION else UpstreamRefusedError(answer)

    def _with_stand_in(self, text: bytes) -> bytes:
        """Return the body with other members in place of the retriever, and all else where it was."""
        body, key, end = self._root.body, self._root.keys["retriever"], self._retriever.end
        return body[:key] + overlay(body[key:end], text) + body[end:]

    async def _ask(self, target: str, text: bytes) -> Reply:
        """Return upstream's answer to `text`, with quotes of its beginning replaced by those of the body."""
        reply = await self._upstream.request("GET", target, text)
        return replace(reply, body=reply.body.replace(_printed_source(text), _printed_source(self._body)))

    def _fault(self, probe: Probe, answer: Reply) -> tuple[int, OpaqueValue, Cause] | None:
        """Return the offset, the value and the cause of a fault, without the errors of the probe around."""
        error, fault = _error(answer), None
        while error is not None and (inner := error.get("caused_by")) is not None:
            reason = error.get("reason") or ""
            position = _position.match(reason)
            if position and reason[position.end() :] == probe.refusal:
                offset = offset_of(self._root.body, int(position[1]), int(position[2]))
                fault = offset, probe.value_at(offset), cause_of(inner)
            error = inner
        return fault

    def _enclosed(self, offset: int, value: OpaqueValue, cause: Cause) -> ParseError | None:
        value.put(_RefusedNode(value.node, ParseError(cause, offset)))
        try:
            parse_retriever(self._retriever)
        except ParseError as failure:
            return failure
        return None


class _RefusedNode(Node):
    """A value that upstream refuses: it raises the error when the grammar takes its bytes."""

    __slots__ = ("_refusal",)

    def __init__(self, node: Node, refusal: ParseError) -> None:
        for attribute in Node.__slots__:
            setattr(self, attribute, getattr(node, attribute))
        self._refusal = refusal

    @property
    def raw(self) -> bytes:
        raise self._refusal


def _error(answer: Reply) -> Mapping[str, Any] | None:
    """Return the error that parsing may have ended with; None for any other answer."""
    if answer.status not in _PARSER_STATUSES:
        return None
    try:
        error: Mapping[str, Any] = json.loads(answer.body)["error"]
        cause_of(error)  # raises if it is not an error of Elasticsearch's
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    return error


def _printed_source(body: bytes) -> bytes:
    """Return a body as an error of the tokenizer quotes it, escaped for a JSON string."""
    return Printer(pretty=False).value(source_of(body))[1:-1]
