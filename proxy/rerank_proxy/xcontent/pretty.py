"""Compact JSON laid out as `pretty` asks for."""

import re
from typing import Final

_tokens: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++').findall


def pretty_print(raw: bytes, depth: int = 0) -> bytes:
    """Lay out a JSON value as Jackson's ``DefaultPrettyPrinter`` does in Elasticsearch: two spaces a level.

    Scalars and names keep their spelling.

    Args:
        raw: Any valid JSON value; white space in it is not kept.
        depth: The number of values that enclose it.
    """
    out: list[bytes] = []
    opened = False
    for token in _tokens(raw):
        if opened and token not in (b"}", b"]"):
            out.append(_line(depth))
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            out.append(b" " if opened else _line(depth))
        opened = token in (b"{", b"[")
        if token == b":":
            out.append(b" : ")
        elif token == b",":
            out.append(b"," + _line(depth))
        else:
            out.append(token)
    return b"".join(out)


def _line(depth: int) -> bytes:
    return b"\n" + b"  " * depth
