"""Values that stay bytes. The complaints are those of Elasticsearch 9.5.0."""

from collections.abc import Callable
from typing import Any

import pytest

from rerank_proxy.search.retrievers.clauses import (
    to_query,
    to_raw_vector,
    to_rescore_vector,
    to_rescorers,
    to_search_after,
    to_sort,
    to_vector,
    to_vector_builder,
)
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import Node, parse
from tests.support.retrievers import chain


def node(text: str) -> Node:
    """The value of `text` at the offset 5."""
    return parse(b'{"a":' + text.encode() + b"}").members["a"]


def refusal(convert: Callable[[Node], Any], text: str) -> tuple[int | None, str, str]:
    """Where the parser stood, and the innermost error."""
    with pytest.raises(ParseError) as raised:
        convert(node(text))
    return raised.value.offset, *chain(raised.value)[-1]


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (to_query, '{ "match" : { "a" : 1.50 } }'),
        (to_query, '{"unknown": {}}'),
        (to_sort, '[ "a", {"b": {"order":"asc"}} ]'),
        (to_sort, "{}"),
        (to_sort, "[]"),
        (to_sort, '["1","2","3","4","5","6","7","8","9","10"]'),
        (to_search_after, '[1, null, true, "a"]'),
        (to_search_after, "[1,2,3,4,5,6,7,8,9,10]"),
        (to_raw_vector, '[1, "2.5"]'),
        (to_raw_vector, '"AAAA"'),
        (to_raw_vector, "3"),
        (to_vector_builder, '{"text_embedding": {"model_text": "x"}}'),
        (to_rescore_vector, '{"oversample": "0"}'),
    ],
)
def test_what_is_right_stays_as_it_is(convert: Callable[[Node], bytes], text: str) -> None:
    assert convert(node(text)) == text.encode()


@pytest.mark.parametrize(
    ("convert", "text", "at", "type_", "reason"),
    [
        (to_query, "{}", 6, "illegal_argument_exception", "query malformed, empty clause found at [1:7]"),
        (to_query, "5", 6, "parsing_exception", "[_na] query malformed, must start with start_object"),
        (
            to_query,
            '{"a":1}',
            10,
            "parsing_exception",
            "[a] query malformed, no start_object after query name",
        ),
        (
            to_query,
            '{"a":{},"b":{}}',
            13,
            "parsing_exception",
            "[a] malformed query, expected [END_OBJECT] but found [FIELD_NAME]",
        ),
        (
            to_sort,
            '["a",null]',
            10,
            "illegal_argument_exception",
            "malformed sort format, within the sort array, an object, or an actual string are allowed",
        ),
        (to_search_after, "[]", 6, "illegal_argument_exception", "Values must contains at least one value."),
        (
            to_search_after,
            "[[1]]",
            6,
            "parsing_exception",
            "Expected [VALUE_STRING] or [VALUE_NUMBER] or [VALUE_BOOLEAN] or [VALUE_NULL] "
            "but found [START_ARRAY] inside search_after.",
        ),
        (
            to_search_after,
            "{}",
            5,
            "parsing_exception",
            "Expected [START_ARRAY] in [search_after] but found [START_OBJECT] inside search_after",
        ),
        (to_vector, "{}", 5, "parsing_exception", "Unknown type [START_OBJECT] for parsing vector"),
        (to_vector, "[1,null]", 8, "parsing_exception", "Type [VALUE_NULL] not supported for query vector"),
        (to_vector, '[1,2,3,4,5,6,7,8,9,"x"]', 24, "number_format_exception", 'For input string: "x"'),
        (
            to_vector_builder,
            "{}",
            6,
            "named_object_not_found_exception",
            "[1:7] unknown field [query_vector_builder]",
        ),
        (
            to_vector_builder,
            '{"a":{},"b":{}}',
            13,
            "x_content_parse_exception",
            "[1:14] parser for [query_vector_builder] did not end on END_OBJECT",
        ),
        (to_rescore_vector, "{}", 6, "illegal_argument_exception", "Required [oversample]"),
        (
            to_rescore_vector,
            '{"oversample":0.5}',
            19,
            "illegal_argument_exception",
            "[oversample] must be >= 1.0 or 0",
        ),
        (to_rescorers, "{}", 6, "parsing_exception", "missing rescore type"),
        (to_rescorers, '{"window_size":3}', 21, "parsing_exception", "missing rescore type"),
        (
            to_rescorers,
            '{"window_size":null}',
            20,
            "parsing_exception",
            "unexpected token [VALUE_NULL] after [window_size]",
        ),
        (to_rescorers, '{"window_size":"x"}', 20, "number_format_exception", 'For input string: "x"'),
        (to_rescorers, '{"foo":1}', 12, "parsing_exception", "rescore doesn't support [foo]"),
        (to_rescorers, '{"foo":{}}', 12, "named_object_not_found_exception", "[1:13] unknown field [foo]"),
        (
            to_rescorers,
            '{"script":{},"query":{}}',
            26,
            "parsing_exception",
            "Can't have more than one rescore type in a [rescore] object",
        ),
        (to_rescorers, '{"query":{}}', 15, "illegal_argument_exception", "rescore_query cannot be null"),
        (
            to_rescorers,
            '{"query":{"score_mode":"x"}}',
            28,
            "illegal_argument_exception",
            "illegal score_mode [x]",
        ),
        (
            to_rescorers,
            '{"query":{"rescore_query":{}}}',
            32,
            "illegal_argument_exception",
            "query malformed, empty clause found at [1:33]",
        ),
        (to_rescorers, "[1]", 7, "parsing_exception", "unexpected token [END_ARRAY] after [null]"),
    ],
)
def test_what_is_wrong(convert: Callable[[Node], Any], text: str, at: int, type_: str, reason: str) -> None:
    offset, found, said = refusal(convert, text)
    assert (found, said) == (type_, reason)
    assert (5 if offset is None else offset) == at


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("[1,0.1]", (1.0, 0.10000000149011612)),
        ("[]", ()),
        ("7", (7.0,)),
        ('"ab"', "ab"),
        ('["1e1"]', (10.0,)),
    ],
)
def test_vectors(text: str, vector: tuple[float, ...] | str) -> None:
    assert to_vector(node(text)) == vector


def test_a_long_vector_is_read_whole() -> None:
    values = [number / 8 for number in range(3000)]
    assert to_vector(node(str(values))) == tuple(values)


def test_rescorers_and_their_windows() -> None:
    one = '{"window_size":"7","query":{"rescore_query":{"match_all":{}},"score_mode":"AVG"}}'
    two = '{"script":{"script":"1"}}'
    assert to_rescorers(node(one)) == ((one.encode(), 7),)
    assert to_rescorers(node(f"[{one}, {two}]")) == ((one.encode(), 7), (two.encode(), 10))
    assert to_rescorers(node("[]")) == ()
