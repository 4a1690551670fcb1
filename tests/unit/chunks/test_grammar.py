"""The object's keys and complaints. The examples are answers of Elasticsearch 9.5.0's own parsers."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks import (
    ChunkingSettings,
    ChunkRescorer,
    NoneChunkingSettings,
    RecursiveChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
    parse_chunk_rescorer,
)
from rerank_proxy.chunks.settings import MARKDOWN_SEPARATORS, PLAINTEXT_SEPARATORS
from rerank_proxy.errors import Cause
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import Field, parse_object
from rerank_proxy.xcontent.source import OBJECT, parse

FIELDS = {"chunk_rescorer": Field(frozenset({OBJECT}), parse_chunk_rescorer)}
BUILD = "Failed to build [chunk_rescorer] after last required field arrived"


def read(body: str) -> ChunkRescorer:
    rescorer = parse_chunk_rescorer(parse(body.encode()))
    assert isinstance(rescorer, ChunkRescorer)
    return rescorer


def read_settings(settings: Any) -> ChunkingSettings | None:
    return read(json.dumps({"chunking_settings": settings})).chunking


def refusal(settings: Any) -> Cause:
    """What is wrong with the settings, below the message that they could not be built."""
    with pytest.raises(ParseError) as raised:
        read_settings(settings)
    assert raised.value.status == 400
    assert (raised.value.cause.type, raised.value.cause.reason) == ("x_content_parse_exception", BUILD)
    assert raised.value.cause.caused_by is not None
    return raised.value.cause.caused_by


def problems(settings: Any) -> list[str]:
    cause = refusal(settings)
    assert cause.type == "validation_exception"
    prefix, *numbered = cause.reason.split(": ", 1)[1].split(";")
    found = [prefix, *numbered[:-1]]
    assert numbered[-1] == ""
    assert [each.split(": ", 1)[0] for each in found] == [str(n) for n in range(1, len(found) + 1)]
    return [each.split(": ", 1)[1] for each in found]


class TestObject:
    @pytest.mark.parametrize(
        ("body", "rescorer"),
        [
            ("{}", ChunkRescorer(1, None)),
            ('{"size": 3}', ChunkRescorer(3, None)),
            ('{"size": "3"}', ChunkRescorer(3, None)),
            ('{"size": 2.7}', ChunkRescorer(2, None)),
            ('{"size": 0}', ChunkRescorer(0, None)),
            ('{"size": 1, "chunking_settings": null}', ChunkRescorer(1, None)),
            ('{"chunking_settings": {}}', ChunkRescorer(1, None)),
            ('{"sizes": 5, "x": {"y": [1]}}', ChunkRescorer(1, None)),
            (
                '{/* sic */"chunking_settings": {"strategy": "none" // it\n}}',
                ChunkRescorer(1, NoneChunkingSettings()),
            ),
        ],
    )
    def test_what_is_accepted(self, body: str, rescorer: ChunkRescorer) -> None:
        assert read(body) == rescorer

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ('{"size": null}', "[1:10] [chunk_rescorer] size doesn't support values of type: VALUE_NULL"),
            ('{"size": true}', "[1:10] [chunk_rescorer] size doesn't support values of type: VALUE_BOOLEAN"),
            ('{"size": "x"}', "[1:10] [chunk_rescorer] failed to parse field [size]"),
            (
                '{"chunking_settings": [1]}',
                "[1:23] [chunk_rescorer] chunking_settings doesn't support values of type: START_ARRAY",
            ),
        ],
    )
    def test_wrong_types(self, body: str, reason: str) -> None:
        with pytest.raises(ParseError) as raised:
            read(body)
        assert raised.value.cause.reason == reason

    @pytest.mark.parametrize(
        ("body", "chain"),
        [
            (
                '{\n "chunk_rescorer":\n{"chunking_settings":\n {"strategy":"word"} \n }}',
                ["[5:2] [text_similarity_reranker] failed to parse field [chunk_rescorer]", BUILD],
            ),
            (
                '{"chunk_rescorer":{"size":1,"chunking_settings":{"strategy":"word"}}}',
                [
                    "[1:67] [text_similarity_reranker] failed to parse field [chunk_rescorer]",
                    "[1:67] [chunk_rescorer] failed to parse field [chunking_settings]",
                    BUILD,
                ],
            ),
            (
                '{"chunk_rescorer":{"chunking_settings":{"strategy":"word"},"size":1,"x":1}}',
                [
                    "[1:67] [text_similarity_reranker] failed to parse field [chunk_rescorer]",
                    "[1:67] [chunk_rescorer] failed to parse field [size]",
                    BUILD,
                ],
            ),
            (
                '{"chunk_rescorer":{"x":1,"chunking_settings":{"strategy":"word"}}}',
                ["[1:65] [text_similarity_reranker] failed to parse field [chunk_rescorer]", BUILD],
            ),
        ],
    )
    def test_where_it_is_built(self, body: str, chain: list[str]) -> None:
        with pytest.raises(ParseError) as raised:
            parse_object(parse(body.encode()), "text_similarity_reranker", FIELDS)
        cause: Cause | None = raised.value.cause
        reasons = []
        while cause is not None:
            reasons.append(cause.reason)
            cause = cause.caused_by
        assert reasons[:-1] == chain
        assert "required setting [max_chunk_size]" in reasons[-1]

    def test_the_first_key_at_fault_is_named(self) -> None:
        with pytest.raises(ParseError, match=r"failed to parse field \[size\]"):
            read('{"chunking_settings": {"strategy": "x"}, "size": "y"}')


class TestStrategy:
    @pytest.mark.parametrize(
        ("strategy", "shown"),
        [("x", "x"), ("Word", "Word"), (3, "3"), (["word"], "[word]"), ({"a": 1}, "{a=1}")],
    )
    def test_unknown(self, strategy: Any, shown: str) -> None:
        cause = refusal({"strategy": strategy})
        assert cause == Cause("illegal_argument_exception", f"Invalid chunkingStrategy {shown}")

    def test_absent(self) -> None:
        reason = "Can't generate Chunker without ChunkingStrategy provided"
        assert refusal({"overlap": 1}) == Cause("illegal_argument_exception", reason)
        assert refusal({"max_chunk_size": 50, "overlap": 1}).reason == reason

    def test_null(self) -> None:
        assert refusal({"strategy": None}).type == "null_pointer_exception"

    def test_none_takes_anything_else(self) -> None:
        assert read_settings({"strategy": "none", "overlap": "x"}) == NoneChunkingSettings()


class TestOnlySize:
    @pytest.mark.parametrize(("size", "words"), [(20, 20), (500, 500), (None, 300)])
    def test_sentences_without_overlap(self, size: int | None, words: int) -> None:
        assert read_settings({"max_chunk_size": size}) == SentenceBoundaryChunkingSettings(words, 0)

    def test_too_small(self) -> None:
        assert problems({"max_chunk_size": 19}) == ["max_chunk_size [19] must be above 20"]

    @pytest.mark.parametrize(
        ("size", "name"),
        [
            ("50", "java.lang.String"),
            (50.5, "java.lang.Double"),
            (2**31, "java.lang.Long"),
            ([], "java.util.ArrayList"),
        ],
    )
    def test_no_integer(self, size: Any, name: str) -> None:
        cause = refusal({"max_chunk_size": size})
        assert cause.type == "class_cast_exception"
        assert cause.reason == (
            f"class {name} cannot be cast to class java.lang.Integer ({name} and java.lang.Integer are in "
            "module java.base of loader 'bootstrap')"
        )


class TestWord:
    @pytest.mark.parametrize(("size", "overlap"), [(10, 1), (10, 5), (11, 5), (2**31 - 1, 2**30 - 1)])
    def test_fine(self, size: int, overlap: int) -> None:
        settings = {"strategy": "word", "max_chunk_size": size, "overlap": overlap}
        assert read_settings(settings) == WordBoundaryChunkingSettings(size, overlap)

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, ["[chunking_settings] does not contain the required setting [max_chunk_size]"]),
            ({"max_chunk_size": 50}, ["[chunking_settings] does not contain the required setting [overlap]"]),
            (
                {"max_chunk_size": 50, "overlap": 26},
                ["[chunking_settings] Invalid value [26.0]. [overlap] must be less than or equal to [25.0]"],
            ),
            (
                {"max_chunk_size": 50, "overlap": 20000000},
                ["[chunking_settings] Invalid value [2.0E7]. [overlap] must be less than or equal to [25.0]"],
            ),
            (
                {"max_chunk_size": 50, "overlap": 0},
                ["[chunking_settings] Invalid value [0]. [overlap] must be a positive integer"],
            ),
            (
                {"max_chunk_size": -5, "overlap": 1},
                ["[chunking_settings] Invalid value [-5]. [max_chunk_size] must be a positive integer"],
            ),
            (
                {"max_chunk_size": 9},
                [
                    "[chunking_settings] Invalid value [9.0]. "
                    "[max_chunk_size] must be greater than or equal to [10.0]"
                ],
            ),
            (
                {"max_chunk_size": 50, "overlap": "1"},
                [
                    "field [overlap] is not of the expected type. "
                    "The value [1] cannot be converted to a [Integer]"
                ],
            ),
            (
                {"max_chunk_size": 50.0, "overlap": 1},
                [
                    "field [max_chunk_size] is not of the expected type. "
                    "The value [50.0] cannot be converted to a [Integer]"
                ],
            ),
            (
                {"max_chunk_size": 50, "overlap": 1, "foo": 1, "bar": 2},
                ["Word based chunking settings can not have the following settings: [bar, foo]"],
            ),
        ],
    )
    def test_refused(self, settings: dict[str, Any], expected: list[str]) -> None:
        assert problems({"strategy": "word", **settings}) == expected


class TestSentence:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"max_chunk_size": 20}, (20, 1)),
            ({"max_chunk_size": 20, "sentence_overlap": None}, (20, 1)),
            ({"max_chunk_size": 5000, "sentence_overlap": 0}, (5000, 0)),
        ],
    )
    def test_fine(self, settings: dict[str, Any], expected: tuple[int, int]) -> None:
        assert read_settings({"strategy": "sentence", **settings}) == SentenceBoundaryChunkingSettings(
            *expected
        )

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"max_chunk_size": 30, "sentence_overlap": -1}, ["sentence_overlap[-1] must be either 0 or 1"]),
            (
                {"max_chunk_size": 19, "sentence_overlap": 2, "overlap": 1},
                [
                    "Sentence based chunking settings can not have the following settings: [overlap]",
                    "[chunking_settings] Invalid value [19.0]. "
                    "[max_chunk_size] must be greater than or equal to [20.0]",
                    "sentence_overlap[2] must be either 0 or 1",
                ],
            ),
            (
                {"sentence_overlap": "1"},
                [
                    "[chunking_settings] does not contain the required setting [max_chunk_size]",
                    "field [sentence_overlap] is not of the expected type. "
                    "The value [1] cannot be converted to a [Integer]",
                ],
            ),
        ],
    )
    def test_refused(self, settings: dict[str, Any], expected: list[str]) -> None:
        assert problems({"strategy": "sentence", **settings}) == expected


class TestRecursive:
    @pytest.mark.parametrize(
        ("settings", "separators"),
        [
            ({}, PLAINTEXT_SEPARATORS),
            ({"separators": None, "separator_group": None}, PLAINTEXT_SEPARATORS),
            ({"separator_group": "markdown"}, MARKDOWN_SEPARATORS),
            ({"separator_group": " PlainText\t"}, PLAINTEXT_SEPARATORS),
            ({"separators": ["a", "("]}, ("a", "(")),
            ({"separators": ["s"] * 50}, ("s",) * 50),
        ],
    )
    def test_fine(self, settings: dict[str, Any], separators: tuple[str, ...]) -> None:
        settings = {"strategy": "recursive", "max_chunk_size": 10, **settings}
        assert read_settings(settings) == RecursiveChunkingSettings(10, separators)

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            (
                {"separator_group": "x", "separators": [], "foo": 1},
                [
                    "Recursive chunking settings can not have the following settings: [foo]",
                    "[chunking_settings] Invalid value [x] received. "
                    "[separator_group] must be one of [markdown, plaintext]",
                    "Recursive chunking settings can not have an empty list of separators",
                ],
            ),
            (
                {"separators": ["a"] * 51},
                ["Recursive chunking settings can not have more than 50 separators"],
            ),
            (
                {"separator_group": "markdown", "separators": ["a"]},
                ["Recursive chunking settings can not have both separators and separator_set"],
            ),
            (
                {"separator_group": ""},
                [
                    "[chunking_settings] Invalid value empty string. "
                    "[separator_group] must be a non-empty string"
                ],
            ),
            (
                {"separator_group": 1},
                [
                    "field [separator_group] is not of the expected type. "
                    "The value [1] cannot be converted to a [String]"
                ],
            ),
            (
                {"separators": "a"},
                [
                    "field [separators] is not of the expected type. "
                    "The value [a] cannot be converted to a [List]"
                ],
            ),
            (
                {"separators": [1, "a", 2.0]},
                [
                    "field [separators] is not of the expected type. "
                    "The value [1] cannot be converted to a [String]",
                    "field [separators] is not of the expected type. "
                    "The value [2.0] cannot be converted to a [String]",
                ],
            ),
        ],
    )
    def test_refused(self, settings: dict[str, Any], expected: list[str]) -> None:
        assert problems({"strategy": "recursive", "max_chunk_size": 10, **settings}) == expected

    def test_null_among_separators(self) -> None:
        cause = refusal({"strategy": "recursive", "max_chunk_size": 10, "separators": [None]})
        assert cause.type == "null_pointer_exception"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["max_chunk_size", "overlap", "sentence_overlap", "separators", "separator_group", "x"]
)


@given(
    st.dictionaries(KEYS, VALUES | st.sampled_from([10, 20, 50]), max_size=4),
    st.sampled_from(["none", "word", "sentence", "recursive"]) | VALUES,
)
def test_any_settings_are_read_or_refused(settings: dict[str, Any], strategy: Any) -> None:
    body = json.dumps({"chunking_settings": {**settings, "strategy": strategy}})
    with contextlib.suppress(ParseError):
        assert read(body).chunking is not None
