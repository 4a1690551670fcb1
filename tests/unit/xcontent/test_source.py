"""JSON with positions: it reads what Elasticsearch reads, parts keep their bytes, and errors say where."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent.faults import MAX_DEPTH
from rerank_proxy.xcontent.positions import position
from rerank_proxy.xcontent.source import (
    ARRAY,
    BOOLEAN,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    Node,
    parse,
    parse_array,
    walk,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=12)  # unpaired surrogates too
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=6), inner, max_size=5),
    max_leaves=40,
)
layouts = st.sampled_from(
    [{"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}, {"ensure_ascii": False}]
)


def printed(value: Any, layout: dict[str, Any]) -> bytes:
    return json.dumps(value, **layout).encode("utf-8", "surrogatepass")


def read_whole(body: bytes, *, strict: bool = True) -> Node:
    """Return a document that has been read completely."""
    root = parse(body, strict=strict)
    for node in walk(root):
        assert node.end > node.start
    return root


def refusal(body: bytes) -> ElasticsearchError:
    with pytest.raises(ElasticsearchError) as raised:
        read_whole(body)
    assert raised.value.status == 400
    return raised.value


def to_python(node: Node) -> Any:
    if node.kind == OBJECT:
        return {name: to_python(child) for name, child in node.members.items()}
    if node.kind == ARRAY:
        return [to_python(parse(item, strict=False)) for item in parse_array(node.raw)]
    return node.scalar()


@given(values, layouts)
def test_agrees_with_the_standard_library(value: Any, layout: dict[str, Any]) -> None:
    body = printed(value, layout)
    assert to_python(parse(body)) == json.loads(body)


@given(values, layouts)
def test_every_part_keeps_its_bytes(value: Any, layout: dict[str, Any]) -> None:
    body = printed(value, layout)
    root = parse(b"  " + body + b"\n")
    assert root.raw == body
    for node in walk(root):
        assert json.loads(node.raw.decode("utf-8", "surrogatepass")) == to_python(node)
        edges = [edge for child in (*node.members.values(), *node.items) for edge in (child.start, child.end)]
        assert [node.start, *edges, node.end] == sorted([node.start, *edges, node.end])


@given(st.lists(scalars, max_size=30), layouts)
def test_elements_of_an_array_keep_their_bytes(items: list[Any], layout: dict[str, Any]) -> None:
    elements = parse_array(printed(items, layout))
    assert [json.loads(element.decode("utf-8", "surrogatepass")) for element in elements] == items


@given(st.binary(max_size=40) | st.text('{}[]",:\\/*019.eE-+ntrufals \n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Any text gives a tree or a 400, and the tree is that of the standard library."""
    try:
        root = read_whole(body)
    except ElasticsearchError:
        return
    if not body.startswith(b"\xef\xbb\xbf") and b"//" not in body and b"/*" not in body:
        json.loads(body.decode("utf-8", "surrogatepass"))
    assert root.raw == body[root.start : root.end]


@given(values.filter(lambda value: isinstance(value, dict | list) and value), st.data())
def test_a_truncated_body_is_the_end_of_file(value: Any, data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    cut = body[: data.draw(st.integers(1, len(body) - 1))]
    failure = refusal(cut)
    assert failure.cause.type in ("x_content_e_o_f_exception", "x_content_parse_exception")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"123456789012345678901234567890", NUMBER),
        (b"1e400", NUMBER),
        (b"-0", NUMBER),
        (b"1.10", NUMBER),
        (b"1E5", NUMBER),
        (b'"\\ud800"', STRING),
        (b'"\\/\\u00e9"', STRING),
        (b"true", BOOLEAN),
        (b"null", NULL),
        (b"{ }", OBJECT),
        (b"[1, 2]", ARRAY),
    ],
)
def test_spellings_survive(text: bytes, kind: str) -> None:
    node = parse(b'{"a": ' + text + b" }").members["a"]
    assert (node.kind, node.raw) == (kind, text)


def test_long_arrays_of_scalars_are_kept_as_bytes() -> None:
    vector = b"[" + b", ".join(b"0.%d" % place for place in range(1000)) + b" ]"
    node = parse(b'{"query_vector":' + vector + b"}").members["query_vector"]
    assert (node.kind, node.raw) == (ARRAY, vector)
    assert len(parse_array(vector)) == 1000


def test_comments_and_a_byte_order_mark_are_read() -> None:
    body = b'\xef\xbb\xbf{ // size\r"size": /* of / the * page */ 3 /**/, //\n "from"/**/:/**/1 }//'
    members = parse(body).members
    assert {name: node.raw for name, node in members.items()} == {"size": b"3", "from": b"1"}


def test_names_may_be_escaped() -> None:
    assert list(parse(b'{"r\\u0065triever": {}}').members) == ["retriever"]


@pytest.mark.parametrize(
    ("body", "where", "type_"),
    [
        (b'{"a":1,}', "[1:8]", "x_content_parse_exception"),
        (b'{"a" 1}', "[1:6]", "x_content_parse_exception"),
        (b"{'a':1}", "[1:2]", "x_content_parse_exception"),
        (b'{"size":1 # c\n}', "[1:11]", "x_content_parse_exception"),
        (b'{\n "a": 1\n  "b": 2}', "[3:3]", "x_content_parse_exception"),
        (b'{"a":1}}', "[1:8]", "x_content_parse_exception"),
        (b'{"size":1,"size":2}', "[1:17]", "x_content_parse_exception"),
        (b'{"a":{"b":1,\n"b":2}}', "[2:4]", "x_content_parse_exception"),
        (b'{"size":1', "[1:10]", "x_content_e_o_f_exception"),
        (b'{"size"', "[1:8]", "x_content_e_o_f_exception"),
        (b'{"si', "[1:5]", "x_content_e_o_f_exception"),
        (b"{", "[1:2]", "x_content_e_o_f_exception"),
        (b'{"a":"abc', "[1:10]", "x_content_e_o_f_exception"),
        (b'{"text":"\xff"}', "[1:11]", "x_content_parse_exception"),
    ],
)
def test_errors_say_where(body: bytes, where: str, type_: str) -> None:
    """Elasticsearch 9.5.0 gives these positions and types for these bodies."""
    cause = refusal(body).cause
    assert cause.type == type_
    assert cause.reason.startswith(where + " ")
    assert cause.caused_by is not None


def test_a_duplicate_key_is_named() -> None:
    cause = refusal(b'{"size":1,"size":2}').cause
    assert cause.reason.startswith("[1:17] Duplicate field 'size'\n at [Source: ")
    assert cause.caused_by is not None
    assert cause.caused_by.type == "json_parse_exception"


@pytest.mark.parametrize(
    ("rest", "token"), [(b"{}", OBJECT), (b"[", ARRAY), (b'"x"', STRING), (b"1", NUMBER), (b"true", BOOLEAN)]
)
def test_trailing_content_is_named(rest: bytes, token: str) -> None:
    cause = refusal(b'{"a":1} ' + rest).cause
    assert cause.type == "parsing_exception"
    assert cause.reason == f"Unexpected token [{token}] found after the main object."
    assert cause.metadata == {"line": 1, "col": 9}


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"x", "[1:10] Unrecognized token 'x': was expecting (JSON String, Number, Array, Object or token "),
        (b",", "[1:9] Unexpected character (',' (code 44)): expected a value"),
        (b":", "[1:9] Unexpected character (':' (code 58)): expected a valid value "),
        (b"#", "[1:9] Unexpected character ('#' (code 35)): expected a valid value "),
        (b"}", "[1:9] Unexpected close marker '}': expected ']'"),
        (b"\x01", "[1:10] Illegal character ((CTRL-CHAR, code 1)): only regular white space "),
    ],
)
def test_text_after_a_document_that_is_not_a_value_is_named_too(rest: bytes, reason: str) -> None:
    """Elasticsearch 9.5.0 does the same."""
    cause = refusal(b'{"a":1} ' + rest).cause
    assert cause.type == "x_content_parse_exception"
    assert cause.reason.startswith(reason)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"nul",
        b"NaN",
        b"Infinity",
        b"01",
        b"1.",
        b".5",
        b"-",
        b"+1",
        b"1e",
        b"truely",
        b'{"a":\x0b1}',
        b'"a\nb"',
        b'"\\x"',
        b'"\\u12"',
        b"/* open",
        b"/",
        b"[1 2]",
        b"[,1]",
        b"{1:2}",
        b'{"a"}',
        b"]",
        b"[1,2,3,4,5,6,7,8,9,10,]",
        b"[1,2,3,4,5,6,7,8,9\x0b,10]",
    ],
)
def test_what_elasticsearch_refuses_is_refused(body: bytes) -> None:
    refusal(body)


def test_nesting_is_bounded_for_requests_and_not_for_answers() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert read_whole(deepest).raw == deepest
    deeper = b"[" + deepest + b"]"
    assert "nesting depth" in refusal(deeper).cause.reason
    assert read_whole(deeper, strict=False).raw == deeper


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b'{"a"' + b" " * 5000 + b"1}",
        b'{"a"' + b"/**/ " * 5000 + b"1}",
        b'{"a"' + b" // x\n" * 5000 + b"1}",
        b"/*" * 20000,
        b"/**" * 20000,
        b'"' + b"\\n" * 50000,
        b"[" + b"1 , " * 50000 + b"{",
        b"[" + b'"a" , ' * 50000 + b"x]",
        b"1" * 100000 + b"x",
        b"[" * 100000,
    ],
    ids=lambda body: repr(body[:8]),
)
def test_a_hostile_body_is_refused_in_linear_time(body: bytes) -> None:
    """Each of these made a naive pattern try exponentially or quadratically many ways to match."""
    refusal(body)


def test_long_bodies_are_quoted_in_part() -> None:
    reason = refusal(b'{"a":"' + b"x" * 600 + b'",}').cause.reason
    assert "[truncated 109 bytes]" in reason
    assert len(reason) < 700


@given(st.lists(st.text("ab\n", max_size=5)), st.data())
def test_positions_count_from_one(lines: list[str], data: st.DataObject) -> None:
    body = "".join(lines).encode()
    offset = data.draw(st.integers(0, len(body)))
    before = body[:offset].decode().split("\n")
    assert position(body, offset) == f"[{len(before)}:{len(before[-1]) + 1}]"
