"""Upstream's refusals of inner requests, told as of the client's own."""

import re
from dataclasses import replace
from typing import Final

from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.splicing import Printer

_UNRECOGNIZED: Final = re.compile(rb"request \[/_m?search\](?= contains (?:unrecognized )?parameter)")
_UNAUTHENTICATED: Final = re.compile(
    rb'(?<= for REST request \[)(?:(?! for REST request \[|\]")[^"\\]|\\.)*+(?=\]")'
)
"""What is asked for, at the end of a reason: the name of the caller before it may hold anything."""


def of_the_client(reply: Reply, path: str, target: str) -> Reply:
    """The refusal with the client's path where Elasticsearch names that of the inner request.

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
