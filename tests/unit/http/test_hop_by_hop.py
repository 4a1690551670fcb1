"""Each header goes along by the rule of the table, on the edge's way and on the application's."""

import pytest

from rerank_proxy.http.head import parse_request, parse_response
from rerank_proxy.http.hop_by_hop import FIELDS, Rule
from rerank_proxy.upstream.headers import for_client, for_upstream

VALUES = {"transfer-encoding": b"chunked", "content-length": b"3", "expect": b"100-continue"}


@pytest.mark.parametrize("name", FIELDS)
def test_the_edge(name: str) -> None:
    before, after = b"A: 1\r\n", b"B: 2\r\n\r\n"
    line = b"%b: %b\r\n" % (name.upper().encode(), VALUES.get(name, b"x"))
    sent = line if FIELDS[name] is Rule.MESSAGE else b""
    given = b"" if FIELDS[name] is Rule.CONNECTION else line
    request, response = b"POST / HTTP/1.1\r\n" + before, b"HTTP/1.1 200 OK\r\n" + before
    assert parse_request(request + line + after).forward() == request + sent + after
    assert parse_response(response + line + after).forward(close=False) == response + given + after


@pytest.mark.parametrize("name", FIELDS)
def test_the_application(name: str) -> None:
    raw = [(b"A", b"1"), (name.upper().encode(), VALUES.get(name, b"x")), (b"B", b"2")]
    along = [("A", "1"), ("B", "2")]
    assert for_client(raw) == along
    assert list(for_upstream(raw).items()) == [*along, ("Content-Type", "application/json")]
