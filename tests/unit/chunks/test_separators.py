"""Java's regular expressions. The examples are where Elasticsearch 9.5.0 cuts."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks import separators
from rerank_proxy.chunks.separators import split_offsets as steps_of_splitting
from rerank_proxy.chunks.settings import MARKDOWN_SEPARATORS, PLAINTEXT_SEPARATORS
from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.errors import ElasticsearchError


def split_offsets(text: str, separator: str) -> list[int]:
    return run_at_once(steps_of_splitting(text, separator))


@pytest.mark.parametrize(
    ("separator", "text", "offsets"),
    [
        (",", "a,b,,c", [1, 3, 4]),
        ("^a", "a\na\r\na\ra\n", [0, 2, 5, 7]),
        ("^", "a\n", [0]),
        ("^b", "a\u2028b\x85b\vb", [2, 4]),
        ("a$", "a\na\r\na\ra", [0, 2, 5, 7]),
        ("$", "a\r\nb", [1, 4]),
        ("a.", "a\na\ra\u2028ab", [6]),
        ("[.^$]", "a.b^c$", [1, 3, 5]),
        ("[]a]", "]a", [0, 1]),
        (r"\.", "a.b", [1]),
        (r"\Q^.$\E", "a^.$", [1]),
        (r"\Q.", "a.b.", [1, 3]),
        (r"\d", "aé1 \u0661", [2]),
        (r"\s", "é \xa0\t", [1, 3]),
        ("é", "aé😀é", [1, 3]),
        (r"\u00e9", "aé", [1]),
        (r"(?i)B", "aé😀b", [3]),
        (r"a{2,}+", "aaa", [0]),
        ("x", "", []),
    ],
)
def test_examples(separator: str, text: str, offsets: list[int]) -> None:
    assert split_offsets(text, separator) == offsets


@pytest.mark.parametrize(
    ("text", "group", "cuts"),
    [
        ("a\n\nb\nc\n\n\nd", PLAINTEXT_SEPARATORS, {1, 4}),
        ("a\n# b\n## c\n####### d\n#e", MARKDOWN_SEPARATORS, {1, 5}),
        ("a\nTitle\n--\nb\n\n--\nT\r\n==\nc\nT\n=\n", MARKDOWN_SEPARATORS, {1, 24}),
    ],
)
def test_groups(text: str, group: tuple[str, ...], cuts: set[int]) -> None:
    assert {offset for separator in group for offset in split_offsets(text, separator)} == cuts


@given(st.text("ab\n\r.x", max_size=30), st.sampled_from(["^", "$", "^a", "b$", ".", "a.b", r"\n", "x*b"]))
def test_other_characters_do_not_change_what_is_found(text: str, separator: str) -> None:
    """A text in ASCII is searched as bytes, any other as characters."""
    assert split_offsets(text + "é", separator + "(?!é)") == split_offsets(text + "#", separator + "(?!#)")


@pytest.mark.parametrize(
    "separator", ["(", "[", "a**", "a)(b", "\\", r"\1", "(*F)a", r"a\C", "{", "a{e}", "(?R)", "(?r)a", r"\m"]
)
@pytest.mark.parametrize("text", ["abc", "äbc"])
def test_what_is_not_an_expression_is_refused(separator: str, text: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        split_offsets(text, separator)
    assert raised.value.status == 400
    assert raised.value.cause.type == "pattern_syntax_exception"
    assert raised.value.cause.reason.endswith(f"\n{separator}")


@pytest.mark.parametrize(
    "separator",
    [
        "x{2000000000}",
        "(((a{9999}){9999}){9999})",
        "(" * 2000 + ")" * 2000,
        "[ab]" * 5000,
    ],
)
def test_what_is_too_large_is_refused(separator: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        split_offsets("a", separator)
    assert raised.value.cause.type == "pattern_syntax_exception"


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "separator",
    [
        "(a+)+$",
        "(x+x+)+q",
        "x*x*x*q",
        "(?:x|x)+q",
        "(?>x+)q",
        r"(?=(x+x+x+x+))\1q",
        "(?:(?=x*+y)|x)+q",
        "(?:x{1,9999}){1,9999}q",
        r"\b(\w+\w+)+\bq",
        "((x)|(y))*q",
    ],
)
def test_what_takes_too_long_is_ended(separator: str) -> None:
    began = time.thread_time()
    with suppress(ElasticsearchError):
        split_offsets(f"{LONG}!q a! {LONG}?", separator)
    assert time.thread_time() - began < 20 * separators.SEARCH_LIMIT_S


def test_what_is_ended_is_refused_in_natives_words() -> None:
    with pytest.raises(ElasticsearchError) as raised:
        split_offsets("a" * 2000 + "!", "(a+)+$")
    assert raised.value.status == 400
    assert raised.value.cause.type == "illegal_argument_exception"
    assert raised.value.cause.reason == "Chunk separator regex [(a+)+$] has exceeded the character read limit"


def test_every_match_is_a_step() -> None:
    assert sum(1 for _ in steps_of_splitting("x," * 1000, ",")) == 1000
