"""The ids of searches: only their own process knows them."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.online.search_ids import SearchIds, listed

IDS = SearchIds()


def test_its_own_are_known_and_differ() -> None:
    given = [IDS.new() for _ in range(100)]
    assert {IDS.check(each) for each in given} == {None}
    assert len({*given}) == 100
    assert {len(each) for each in given} == {24}


def test_those_of_another_process_are_elsewhere() -> None:
    assert IDS.check(SearchIds().new()) == "elsewhere"


@given(st.integers(4, 17), st.integers(1, 255))
def test_one_that_was_changed_is_unknown(at: int, by: int) -> None:
    changed = bytearray(urlsafe_b64decode(IDS.new()))
    changed[at] ^= by
    assert IDS.check(urlsafe_b64encode(changed).decode()) == "unknown"


@given(st.text(max_size=40) | st.text("AZaz09-_+/=\x00 é", min_size=24, max_size=24))
def test_any_other_text_is_unknown_or_elsewhere(text: str) -> None:
    assert IDS.check(text) in ("unknown", "elsewhere")


def test_there_is_one_spelling() -> None:
    own = IDS.new()
    for other in (own + "=", own[:-1], f" {own[:-1]}", own.replace(own[5], "+", 1)):
        assert IDS.check(other) is not None


def test_of_many_searches_the_first_are_listed() -> None:
    assert listed({0: "A", 3: "B"}) == "A; item=0, B; item=3"
    assert listed(dict.fromkeys(range(10000), "x" * 24)).count("item=") == 100
    assert len(listed(dict.fromkeys(range(10000), "x" * 24))) < 4096
