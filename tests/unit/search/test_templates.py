"""What becomes of a rendered templates."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search import templates
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.params import parse_params


@given(st.binary().filter(lambda text: text == text.rstrip()))
def test_the_body_is_any_text(text: bytes) -> None:
    assert templates.rendered_body(Reply(200, (), b'{"template_output":' + text + b"}")) == text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"template_output":{}}'),
        (200, b"{}"),
        (200, b'{"error":"no handler found"}'),
        (200, b""),
    ],
)
def test_what_was_not_rendered(status: int, body: bytes) -> None:
    assert templates.rendered_body(Reply(status, (), body)) is None


@pytest.mark.parametrize(
    ("source", "worth"),
    [
        (b'{"id":"a"}', True),
        (b'{"source":{"retriever":{}}}', True),
        (b'{"source":"{{q}}","params":{"q":{"retriever":1}}}', True),
        (b'{"source":"\\u0072etriever"}', True),
        (b'{"source":{"query":{}},"params":{"ids":[1]}}', False),
    ],
)
def test_which_are_worth_rendering(source: bytes, worth: bool) -> None:
    assert templates.may_rerank(source) is worth


@pytest.mark.parametrize(
    ("body", "request_", "query", "expected"),
    [
        (b'{"size":1.0}', {}, "", b'{"size":1.0}'),
        (b'{ "size":1.0 }', {"explain": False, "profile": False}, "explain=false", b'{ "size":1.0 }'),
        (b'{ "size":1.0, "explain":true }', {}, "", b'{"size":1.0}'),
        (b'{"profile":true}', {"profile": True}, "", b'{"profile":true}'),
        (b'{"size":1.0}', {"explain": "true"}, "", b'{"size":1.0,"explain":true}'),
        (b'{"size":1.0}', {"explain": True}, "explain=false", b'{"size":1.0}'),
        (b'{"profile":true}', {}, "explain", b'{"explain":true}'),
        (b'{"explain":true', {}, "", b'{"explain":true'),
        (b"[]", {}, "", b"[]"),
    ],
)
def test_flags_are_the_requests(body: bytes, request_: dict[str, Any], query: str, expected: bytes) -> None:
    sent = json.dumps({"id": "a", **request_}).encode()
    assert templates.with_flags(body, sent, parse_params(query)) == expected


def test_a_flag_that_is_none() -> None:
    with pytest.raises(ElasticsearchError) as refused:
        templates.with_flags(b"{}", b"{}", parse_params("explain=maybe"))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("query", "body", "kept"),
    [
        ("size=3&from=1&q=a&sort=b&_source=false&routing=r&foo", b"{}", "routing=r&foo"),
        (
            "rest_total_hits_as_int=true&pretty&scroll=1m",
            b"{}",
            "rest_total_hits_as_int=true&pretty&scroll=1m",
        ),
        ("track_total_hits=false", b"{}", "track_total_hits=false"),
        ("track_total_hits=false", b'{"track_total_hits":true}', ""),
    ],
)
def test_what_of_the_url_has_an_effect(query: str, body: bytes, kept: str) -> None:
    assert templates.search_params(parse_params(query), body).without(()) == kept
