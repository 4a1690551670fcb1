"""The format of an answer is chosen as Elasticsearch 9.5.0 and 8.19.21 were seen to choose it."""

import pytest

from rerank_proxy.http.media_types import Format, MediaType
from rerank_proxy.http.negotiation import is_refusal, negotiate

JSON = "application/json"
VENDOR = "application/vnd.elasticsearch+"


def content_type(parameter: str | None, accept: str | None, sent: str | None) -> str:
    chosen = negotiate(
        parameter, [accept] if accept is not None else [], [sent] if sent is not None else [], has_body=True
    )
    assert chosen is not None
    return chosen.content_type


@pytest.mark.parametrize(
    ("parameter", "accept", "sent", "expected"),
    [
        ("yaml", "application/cbor", JSON, "application/yaml"),
        ("YAML", None, JSON, "application/yaml"),
        ("smile", None, JSON, "application/smile"),
        ("foo", "application/cbor", JSON, "application/cbor"),
        ("", "application/cbor", JSON, "application/cbor"),
        ("x-ndjson", None, JSON, JSON),
        (
            "yaml",
            VENDOR + "json;compatible-with=9",
            VENDOR + "json;compatible-with=9",
            "application/yaml;compatible-with=9",
        ),
        (
            "json",
            VENDOR + "cbor;compatible-with=9",
            VENDOR + "json;compatible-with=9",
            "application/json;compatible-with=9",
        ),
        (None, "application/cbor", "application/yaml", "application/cbor"),
        (None, JSON, "application/yaml", JSON),
        (None, None, "application/yaml", "application/yaml"),
        (None, None, "application/yaml; charset=utf-8", "application/yaml"),
        (None, "text/plain", "application/yaml", "application/yaml"),
        (None, "*/*", "application/cbor", "application/cbor"),
        (None, None, VENDOR + "yaml", VENDOR + "yaml"),
        (None, None, "application/x-ndjson", JSON),
        (None, None, None, JSON),
        (None, "application/yaml", None, "application/yaml"),
    ],
)
def test_parameter_then_accept_then_content_type(
    parameter: str | None, accept: str | None, sent: str | None, expected: str
) -> None:
    assert content_type(parameter, accept, sent) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html", JSON),
        ("application/*", JSON),
        ("application/yaml,*/*", JSON),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("*/*;q=0.8", "application/json;q=0.8"),
        ("text/html;charset=utf-8", "application/json;charset=utf-8"),
        ("application/json; charset=UTF-8", "application/json;charset=utf-8"),
        ("application/yaml;q=0.5", "application/yaml;q=0.5"),
        (VENDOR + "json", VENDOR + "json"),
        (VENDOR + "yaml;foo=1", VENDOR + "yaml;foo=1"),
    ],
)
def test_accept(accept: str, expected: str) -> None:
    assert content_type(None, accept, JSON) == expected


@pytest.mark.parametrize("name", ["json", "yaml", "cbor", "smile"])
@pytest.mark.parametrize("separator", [";", "; ", " ; "])
def test_vendor_types_come_back_in_one_spelling(name: str, separator: str) -> None:
    accept = f"{VENDOR}{name}{separator}compatible-with=9"
    chosen = negotiate(None, [accept], [VENDOR + "json; compatible-with=9"], has_body=True)
    assert chosen is not None
    assert chosen.format is Format(name)
    assert chosen.content_type == f"{VENDOR}{name};compatible-with=9"


def test_both_headers_are_given_back_read() -> None:
    chosen = negotiate(None, ["Application/YAML; charset=utf-8"], ["application/cbor"], has_body=True)
    assert chosen is not None
    assert chosen.accepted == MediaType("application/yaml", {"charset": "utf-8"})
    assert chosen.sent == MediaType("application/cbor", {})
    chosen = negotiate("json", ["*/*"], [], has_body=True)
    assert chosen is not None
    assert (chosen.accepted, chosen.sent) == (None, None)


def test_order_of_parameters() -> None:
    accept = VENDOR + "yaml;compatible-with=9;charset=utf-8"
    expected = VENDOR + "yaml;charset=utf-8;compatible-with=9"
    assert content_type(None, accept, VENDOR + "json;compatible-with=9") == expected


def test_newline_delimited_json_takes_the_name_of_what_was_sent() -> None:
    accept = VENDOR + "x-ndjson;compatible-with=9"
    expected = VENDOR + "json;compatible-with=9"
    assert content_type(None, accept, VENDOR + "yaml;compatible-with=9") == expected


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        (["garbage"], [JSON]),
        ([""], [JSON]),
        ([JSON, "application/yaml"], [JSON]),
        (["application/yaml"], ["garbage"]),
        ([], [""]),
        ([VENDOR + "yaml;compatible-with=9"], [JSON]),
        (["application/yaml"], [VENDOR + "json;compatible-with=9"]),
        ([], [VENDOR + "json;compatible-with=9"]),
        (["*/*"], [VENDOR + "json;compatible-with=9"]),
        ([VENDOR + "json;compatible-with=9,text/plain"], [VENDOR + "json;compatible-with=9"]),
        ([VENDOR + "json;compatible-with=9"], [VENDOR + "json;compatible-with=8"]),
    ],
)
def test_what_elasticsearch_refuses_is_left_to_it(accept: list[str], sent: list[str]) -> None:
    assert negotiate(None, accept, sent, has_body=True) is None


@pytest.mark.parametrize("accept", [JSON, "*/*", VENDOR + "json; compatible-with=9,text/plain"])
def test_a_type_without_a_body_has_no_say_in_the_version(accept: str) -> None:
    assert negotiate(None, [accept], [VENDOR + "json; compatible-with=9"], has_body=False) is not None


def test_refusals_of_upstream_are_known() -> None:
    kind = b'{"error":{"root_cause":[{"type":"media_type_header_exception","reason":"Invalid media-type'
    assert is_refusal(400, kind)
    assert not is_refusal(200, kind)
    assert not is_refusal(400, b'{"error":{"root_cause":[{"type":"parsing_exception"')
