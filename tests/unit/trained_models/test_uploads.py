"""Choose the upload that makes room for another."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.trained_models.uploads import choose_evicted

IDLE_S = 30.0
NOW = 1000.0


@dataclass
class Stub:
    owner: bytes
    active_at: float
    busy: bool = False


def upload(owner: bytes, idle_s: float, *, busy: bool = False) -> Stub:
    return Stub(owner, NOW - idle_s, busy)


def chosen(uploads: list[Stub], caller: bytes) -> Stub | None:
    return choose_evicted(uploads, caller, NOW, IDLE_S)


def test_the_one_that_is_idle_longest() -> None:
    uploads = [upload(b"a", 31), upload(b"b", 300), upload(b"c", 1)]
    assert chosen(uploads, b"d") is uploads[1]
    assert chosen(uploads, b"c") is uploads[1]


def test_none_while_all_go_on() -> None:
    assert chosen([upload(b"a", 1), upload(b"b", 29)], b"c") is None
    assert chosen([upload(b"a", 1), upload(b"a", 2)], b"a") is None


def test_of_a_caller_who_has_several_for_one_who_has_none() -> None:
    uploads = [upload(b"a", 1), upload(b"a", 2), upload(b"b", 3)]
    assert chosen(uploads, b"c") is uploads[1]
    assert chosen(uploads, b"b") is None


def test_none_that_is_being_written() -> None:
    assert chosen([upload(b"a", 300, busy=True)], b"b") is None


UPLOADS = st.lists(
    st.builds(upload, st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 100), busy=st.booleans()), max_size=8
)


@given(UPLOADS, st.sampled_from([b"a", b"b", b"c", b"d"]))
def test_no_caller_loses_the_only_one_that_goes_on(uploads: list[Stub], caller: bytes) -> None:
    given_up = chosen(uploads, caller)
    if given_up is None:
        return
    assert not given_up.busy
    mine = [each for each in uploads if each.owner == given_up.owner]
    assert NOW - given_up.active_at >= IDLE_S or (len(mine) > 1 and given_up.owner != caller)


@pytest.mark.parametrize("count", [1, 4, 100])
def test_abandoned_ones_never_keep_another_out(count: int) -> None:
    assert chosen([upload(b"a", IDLE_S) for _ in range(count)], b"a") is not None
