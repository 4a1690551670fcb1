"""Faults of a body that only upstream can find, told as native tells them.

Native parses a whole body before it does anything. Here query clauses, sorts and most members of the body
stay bytes, and their faults come to light when upstream refuses a search whose text is not the client's. Then
upstream is asked about the client's own text: each value at its line and column, in bodies that are refused
in any case, so that nothing is searched. What it says of a value inside the retriever is given to the
grammar of retrievers, which wraps it as it wraps the faults that it finds itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rerank_proxy.errors import Cause
from rerank_proxy.search.failures import cause_of
from rerank_proxy.search.language.opaque_values import OpaqueValue, Question, in_place, over, questions
from rerank_proxy.search.language.retriever_grammar import parse_retriever
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.positions import offset_of, source_of
from rerank_proxy.xcontent.source import Node, parse
from rerank_proxy.xcontent.splicing import Printer

MAX_QUESTIONS: Final = 16
"""Requests about the tree. Most trees need one."""

_TARGET: Final = "/_search?size=-1"
"""Refused once the body has been parsed (``RestSearchAction#parseSearchRequest``).

By GET, which is all the same to Elasticsearch: POSTed searches of a batch would wait for one another.
"""
_NOTHING_FOUND: Final = "[size] parameter cannot be negative, found [-1]"
_STAND_IN: Final = b'"query":{"match_all":{}}'
_STOP: Final = b"0}"
_STOPPED: Final = "Unknown key for a VALUE_NUMBER in [retriever]."
_AT_RUN_TIME: Final = "search_phase_execution_exception"
_OF_A_PARSER: Final = (400, 500)
"""The second for exceptions of Java that nothing wraps: the parsers of retrievers would."""
_position: Final = re.compile(r"\[([0-9]{1,9}):([0-9]{1,9})\] ")


def may_be_parse_fault(refusal: Reply) -> bool:
    """Whether a search may have been refused for what the client's body says."""
    error = _error(refusal)
    return error is not None and error["type"] != _AT_RUN_TIME


async def find_parse_fault(
    body: bytes, upstream: Upstream, style: str = ""
) -> ParseError | UpstreamRefusedError | None:
    """The first fault in a body in which the grammar has found none; None when upstream finds none either.

    Args:
        style: What the client's query string says of the layout of errors.

    Raises:
        ElasticsearchError: 5xx when upstream does not answer.
    """
    inquiry = _Inquiry(body, upstream)
    in_tree = await inquiry.in_tree()
    return await inquiry.beside_it(style, before=in_tree is not None) or in_tree


class _Inquiry:
    """What upstream has to say of one body."""

    def __init__(self, body: bytes, upstream: Upstream) -> None:
        self._body = body
        self._root = parse(body)
        self._retriever = self._root.members["retriever"]
        self._upstream = upstream

    async def in_tree(self) -> ParseError | None:
        """The first fault in the values of the retrievers, in all that encloses it."""
        first: tuple[int, OpaqueValue, Cause] | None = None
        for question in questions(self._retriever)[:MAX_QUESTIONS]:
            if first is not None and question.start > first[0]:
                break
            answer = await self._ask(_TARGET, in_place(self._root.body, question))
            fault = self._fault(question, answer)
            if fault is not None and (first is None or fault[0] < first[0]):
                first = fault
        return None if first is None else self._enclosed(*first)

    async def beside_it(self, style: str, *, before: bool) -> UpstreamRefusedError | None:
        """The first fault in the body's other members.

        Args:
            before: Look only at those before the retriever.
        """
        body, members, end = self._root.body, self._root.members, self._retriever.end
        if before:
            nothing_there = next(iter(members)) == "retriever"
            text = body[: self._retriever.start] + _STOP
        else:
            nothing_there = len(members) == 1
            key = self._root.keys["retriever"]
            text = body[:key] + over(body[key:end], _STAND_IN) + body[end:]
        if nothing_there:
            return None
        answer = await self._ask(f"{_TARGET}&{style}" if style else _TARGET, text)
        error = _error(answer)
        if error is None or error.get("reason") in (_NOTHING_FOUND, _STOPPED):
            return None
        return UpstreamRefusedError(answer)

    async def _ask(self, target: str, text: bytes) -> Reply:
        """What upstream says of `text`, as if of the body: errors of the tokenizer quote how it begins."""
        reply = await self._upstream.request("GET", target, text)
        return replace(reply, body=reply.body.replace(_printed_source(text), _printed_source(self._body)))

    def _fault(self, question: Question, answer: Reply) -> tuple[int, OpaqueValue, Cause] | None:
        """What is wrong with one of the values, less what encloses it in the question; and where."""
        error, fault = _error(answer), None
        while error is not None and (inner := error.get("caused_by")) is not None:
            reason = error.get("reason") or ""
            position = _position.match(reason)
            if position and reason[position.end() :] == question.refusal:
                offset = offset_of(self._root.body, int(position[1]), int(position[2]))
                fault = offset, question.value_at(offset), cause_of(inner)
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
    """A value that upstream refuses. The grammar is told so when it takes the value as it was written."""

    __slots__ = ("_refusal",)

    def __init__(self, node: Node, refusal: ParseError) -> None:
        for attribute in Node.__slots__:
            setattr(self, attribute, getattr(node, attribute))
        self._refusal = refusal

    @property
    def raw(self) -> bytes:
        raise self._refusal


def _error(answer: Reply) -> Mapping[str, Any] | None:
    """The error that parsing may have ended with; None for any other answer."""
    if answer.status not in _OF_A_PARSER:
        return None
    try:
        error: Mapping[str, Any] = json.loads(answer.body)["error"]
        cause_of(error)  # else it is no error of Elasticsearch's
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    return error


def _printed_source(body: bytes) -> bytes:
    """How an error of the tokenizer quotes a body, within a JSON string."""
    return Printer(pretty=False).value(source_of(body))[1:-1]
