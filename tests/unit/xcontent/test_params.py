"""Query strings are read as ``RestUtils#decodeQueryString`` and ``RestRequest`` read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent.params import parse_params

SAFE = st.text("abcxyz_.-~", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2", {"a": "1", "b": "2"}),
        ("pretty", {"pretty": ""}),
        ("pretty=", {"pretty": ""}),
        ("a=1&a=2", {"a": "2"}),
        ("a=1&a=2;b=3&&", {"a": "2", "b": "3"}),
        ("=x&a=1", {"x": "", "a": "1"}),
        ("==x=y&=&a=1", {"x": "y", "a": "1"}),
        ("a=1#b=2", {"a": "1"}),
        ("q=a+b%20c%2Bd", {"q": "a b c+d"}),
        ("a=b=c", {"a": "b=c"}),
        ("%70retty=t%72ue", {"pretty": "true"}),
        ("q=%C3%A9", {"q": "é"}),
        ("q=%zz", {"q": "%zz"}),
    ],
)
def test_query_strings(query: str, expected: dict[str, str]) -> None:
    assert dict(parse_params(query)) == expected


@given(st.dictionaries(SAFE, SAFE), st.sets(SAFE))
def test_removing_and_keeping_are_complements(values: dict[str, str], names: set[str]) -> None:
    params = parse_params("&".join(f"{name}={value}" for name, value in values.items()))
    without, only = dict(parse_params(params.without(names))), dict(parse_params(params.only(names)))
    assert not without.keys() & only.keys()
    assert {**without, **only} == dict(params) == values
    assert len(params) == len(values)


def test_the_raw_text_is_kept_for_forwarding() -> None:
    params = parse_params("preference=a%2Fb&size=1&routing=%e9+x;expand_wildcards")
    assert params.without({"size"}) == "preference=a%2Fb&routing=%e9+x&expand_wildcards"
    assert params.only({"routing"}) == "routing=%e9+x"


@pytest.mark.parametrize(
    ("query", "value"), [("", False), ("f", True), ("f=", True), ("f=true", True), ("f=false", False)]
)
def test_flags(query: str, value: bool) -> None:
    assert parse_params(query).flag("f") is value


def test_a_bad_flag() -> None:
    with pytest.raises(
        ElasticsearchError, match=r"Failed to parse value \[yes\] as only \[true\] or \[false\]"
    ):
        parse_params("f=yes").flag("f")


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("-7", -7), ("%2B7", 7), ("007", 7)])
def test_ints(text: str, value: int) -> None:
    assert parse_params(f"n={text}").integer("n") == value
    assert parse_params("").integer("n") is None


@pytest.mark.parametrize("text", ["", "abc", "1_0", "+7", "1.0", "99999999999", "2147483648", "9" * 5000])
def test_what_java_does_not_take_for_an_int(text: str) -> None:
    """`+7` decodes to a blank and a digit."""
    with pytest.raises(ElasticsearchError) as raised:
        parse_params(f"size={text}").integer("size")
    shown = text.replace("+", " ")
    cause = raised.value.cause
    assert cause.type == "illegal_argument_exception"
    assert cause.reason == f"Failed to parse int parameter [size] with value [{shown}]"
    assert cause.caused_by is not None
    assert cause.caused_by.reason == f'For input string: "{shown}"'
