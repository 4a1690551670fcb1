"""The ends of values: skipping them agrees with reading them one by one, at any size and depth."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent import text as text_module
from rerank_proxy.xcontent.faults import MAX_DIGITS, ParseError
from rerank_proxy.xcontent.source import parse
from rerank_proxy.xcontent.text import MAX_READ_VALUES, MAX_VALUES, Text, has_more_values
from tests.unit.xcontent.test_source import layouts, printed, read_whole, values

blanks = st.sampled_from([b"", b" ", b"\n\t", b"/* ] */", b'// "\n', b"/**/ "])


@given(values.filter(lambda value: isinstance(value, dict | list)), layouts, blanks, blanks)
def test_a_value_ends_where_reading_it_ends(
    value: Any, layout: dict[str, Any], before: bytes, after: bytes
) -> None:
    raw = printed(value, layout)
    body = b'{"a":' + before + raw + after + b',"b":1}'
    passed = parse(body).get("a")
    read = read_whole(body).get("a")
    assert passed is not None
    assert read is not None
    assert passed.end == read.end
    assert passed.raw == raw


@given(values.filter(lambda value: isinstance(value, dict | list)), layouts, st.data())
def test_comments_inside_a_value_are_white_space(
    value: Any, layout: dict[str, Any], data: st.DataObject
) -> None:
    """White space may stand between any two tokens."""
    raw = printed(value, layout)
    tokens = text_module._bracket(raw)
    places = [0, *(match.end() for match in tokens if match[1] or match[2])]
    place = data.draw(st.sampled_from(places))
    commented = raw[:place] + data.draw(blanks) + raw[place:]
    node = parse(b"[" + commented + b" , 1]").items[0]
    assert node.raw == (commented if 0 < place < len(raw) else raw)


@given(values, layouts, st.integers(0, 40))
def test_values_are_counted_as_they_are(value: Any, layout: dict[str, Any], limit: int) -> None:
    body = printed(value, layout)
    assert has_more_values(body, limit) == (len(body) > 2 * limit and _counted(value) > limit)


def _counted(value: Any) -> int:
    """Count opening brackets and commas, of which there is one for each value."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(map(_counted, value.values()))
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(_counted, value))
    return 0


@given(st.binary(max_size=30), st.integers(1, 7))
def test_the_first_byte_that_is_not_utf8_is_found_in_any_piece(body: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = text_module._first_that_is_not_utf8(body)
        patch.setattr(text_module, "_PIECE", piece)
        assert text_module._first_that_is_not_utf8(body) == whole
    if whole is None:
        body.decode("utf-8", "surrogatepass")
    else:
        with pytest.raises(UnicodeDecodeError):
            body[: whole + 4].decode("utf-8", "surrogatepass")


@given(st.text(' \t\n/*"a', max_size=40).map(str.encode), st.integers(1, 7))
def test_blanks_end_at_the_same_place_in_any_piece(body: bytes, piece: int) -> None:
    whole = Text(body, strict=False).blank(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "_PIECE", piece)
        assert Text(body, strict=False).blank(0) == whole


@pytest.mark.parametrize("digits", [MAX_DIGITS, MAX_DIGITS + 1, 5000, 100_000])
@pytest.mark.parametrize("form", ["%s", "-%s", "0.%s", "1e%s", "%s.5E+7"])
def test_numbers_have_a_thousand_digits(form: str, digits: int) -> None:
    number = form % ("1" * digits)
    count = sum(character.isdigit() for character in number)
    body = f'{{"a":{number}}}'.encode()
    if count <= MAX_DIGITS:
        assert parse(body).members["a"].raw == number.encode()
        return
    with pytest.raises(ParseError, match=rf"Number value length \({count}\)") as raised:
        list(parse(body).entries())
    assert len(raised.value.cause.reason) < 200
    assert parse(body, strict=False).members["a"].raw == number.encode()


def test_a_body_has_a_million_values_at_most() -> None:
    fits = b"[" + b",".join([b"{}"] * (MAX_VALUES // 2)) + b"]"
    assert parse(fits).raw == fits
    with pytest.raises(ElasticsearchError, match=rf"at most \[{MAX_VALUES}\] values"):
        parse(b"[" + fits + b"," + fits + b"]")
    text = b'"' + b"," * (3 * MAX_VALUES) + b'\\\\"'
    assert parse(b"[" + text + b"]").items[0].raw == text


def test_a_hundred_thousand_of_them_are_read_one_by_one() -> None:
    items = b"[" + b",".join([b"1"] * (MAX_READ_VALUES + 1)) + b"]"
    with pytest.raises(ElasticsearchError, match=rf"at most \[{MAX_READ_VALUES}\] values one by one"):
        list(parse(items).each())
    assert len(parse(items, strict=False).items) == MAX_READ_VALUES + 1


ANSWERS: Final[dict[str, Callable[[int], bytes]]] = {
    "arrays": lambda size: b"[" * size + b"]" * size,
    "objects": lambda size: b'{"a":' * size + b"1" + b"}" * size,
    "with brackets in strings": lambda size: b'{"]":["[\\"",' * size + b'"\\\\"' + b"]}" * size,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_any_depth_is_passed_over(name: str) -> None:
    deep = ANSWERS[name](100_000)
    assert parse(b"[" + deep + b",2]", strict=False).items[0].raw == deep


@pytest.mark.parametrize(
    "body",
    [
        lambda n: b'{"x":[' + b"{}," * n + b"{}]}",
        lambda n: b"[" * n + b"]" * n,
        lambda n: b'{"x":"' + b"\\\\" * n + b'"}',
        lambda n: b'{"x":' + b" " * n + b"1}",
        lambda n: b'{"x":' + b"/**/" * n + b"1}",
        lambda n: b'{"x":[' + b"/**/1," * (n // 10) + b"1]}",
        lambda n: b'{"' + b"x" * n + b'":1}',
        lambda n: b'{"x":' + b"1" * n + b"}",
        lambda n: b'{"x":[' + b"1," * n,
        lambda n: b'{"x":"' + b"a" * n,
    ],
    ids=["objects", "depth", "escapes", "blanks", "comments", "inner", "name", "digits", "open", "string"],
)
def test_the_first_look_costs_no_more_than_its_size(body: Callable[[int], bytes]) -> None:
    """Twice the size takes at most about three times the work; quadratic work would be four times."""

    def cost(size: int) -> float:
        raw = body(size)
        spent = []
        for _ in range(3):
            began = time.thread_time()
            with suppress(ElasticsearchError):
                parse(raw).get("none")
            spent.append(time.thread_time() - began)
        return min(spent)

    assert cost(200_000) < 12 * max(cost(50_000), 0.002)
