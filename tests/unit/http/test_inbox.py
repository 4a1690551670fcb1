import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.head import HeadError
from rerank_proxy.http.inbox import HeadTooLongError, Inbox
from tests.unit.edge.test_relay import cut

LIMIT = 100
PARTS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"A: b\r\n", b"\r\n", b"\r\n\r\n", b"body", b"\r", b"\n", b"x" * 60]
)
CUTS = st.lists(st.integers(0, 500), max_size=12)


def taken(data: bytes) -> tuple[list[bytes], bytes | None]:
    """What an inbox gives that got all at once: heads, each with a body of two bytes; None after a fault."""
    heads: list[bytes] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return heads, None if len(data) >= LIMIT else data
        if end > LIMIT:
            return heads, None
        heads.append(data[:end])
        data = data[end + 2 :]


@given(st.lists(PARTS, max_size=20).map(b"".join), CUTS)
def test_heads_are_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    expected, rest = taken(data)
    inbox = Inbox()
    heads: list[bytes] = []
    body = 0  # bytes of a body that are still to come
    try:
        for piece in cut(data, cuts):
            inbox.append(piece)
            while inbox:
                if body:
                    if inbox.at == len(inbox.block):
                        inbox.next_block()
                    end = min(inbox.at + body, len(inbox.block))
                    body -= end - inbox.at
                    inbox.at = end
                    continue
                inbox.skip_empty_lines()
                head = inbox.take_head(LIMIT)
                if head is None:
                    break
                heads.append(head)
                body = 2
    except HeadTooLongError:
        assert rest is None
    except HeadError:
        pass  # what can no longer become right may be refused before it is complete
    else:
        assert rest is not None
        assert (heads, len(inbox)) == (expected, len(rest))
    assert heads == expected[: len(heads)]


@pytest.mark.parametrize("more", [0, 1])
def test_a_head_of_the_longest_size_is_none_too_long(more: int) -> None:
    head = b"GET / HTTP/1.1\r\nA: \r\n\r\n".replace(b"A: ", b"A: " + b"x" * (LIMIT - 23 + more))
    assert len(head) == LIMIT + more
    for pieces in (
        [head],
        [head[:50], head[50:]],
        [head[:-1], head[-1:]],
        [head[i : i + 1] for i in range(len(head))],
    ):
        inbox = Inbox()
        result = None
        try:
            for piece in pieces:
                inbox.append(piece)
                result = inbox.take_head(LIMIT)
        except HeadTooLongError:
            assert more
        else:
            assert (result, more) == (head, 0)


def test_what_follows_is_left_where_it_is() -> None:
    inbox = Inbox()
    data = b"GET / HTTP/1.1\r\n\r\n" * 100
    inbox.append(data)
    for _ in range(100):
        assert inbox.take_head(LIMIT) == b"GET / HTTP/1.1\r\n\r\n"
        assert inbox.block is data
    assert not inbox
