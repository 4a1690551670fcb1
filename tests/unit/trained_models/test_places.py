"""Which upload gives way to another."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.trained_models.places import to_give_way

IDLE_S = 30.0
NOW = 1000.0


@dataclass
class Place:
    owner: bytes
    active_at: float
    busy: bool = False


def place(owner: bytes, idle_s: float, *, busy: bool = False) -> Place:
    return Place(owner, NOW - idle_s, busy)


def chosen(places: list[Place], caller: bytes) -> Place | None:
    return to_give_way(places, caller, NOW, IDLE_S)


def test_the_one_that_is_idle_longest() -> None:
    places = [place(b"a", 31), place(b"b", 300), place(b"c", 1)]
    assert chosen(places, b"d") is places[1]
    assert chosen(places, b"c") is places[1]


def test_none_while_all_go_on() -> None:
    assert chosen([place(b"a", 1), place(b"b", 29)], b"c") is None
    assert chosen([place(b"a", 1), place(b"a", 2)], b"a") is None


def test_of_a_caller_who_has_several_for_one_who_has_none() -> None:
    places = [place(b"a", 1), place(b"a", 2), place(b"b", 3)]
    assert chosen(places, b"c") is places[1]
    assert chosen(places, b"b") is None


def test_none_that_is_being_written() -> None:
    assert chosen([place(b"a", 300, busy=True)], b"b") is None


PLACES = st.lists(
    st.builds(place, st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 100), busy=st.booleans()), max_size=8
)


@given(PLACES, st.sampled_from([b"a", b"b", b"c", b"d"]))
def test_no_caller_loses_the_only_one_that_goes_on(places: list[Place], caller: bytes) -> None:
    given_up = chosen(places, caller)
    if given_up is None:
        return
    assert not given_up.busy
    mine = [each for each in places if each.owner == given_up.owner]
    assert NOW - given_up.active_at >= IDLE_S or (len(mine) > 1 and given_up.owner != caller)


@pytest.mark.parametrize("count", [1, 4, 100])
def test_abandoned_ones_never_keep_another_out(count: int) -> None:
    assert chosen([place(b"a", IDLE_S) for _ in range(count)], b"a") is not None
