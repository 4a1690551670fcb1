"""The heads of an answer: interim ones, up to limits, and the final one."""

import pytest

from rerank_proxy.http.answer_reader import AnswerError, AnswerHeads, AnswerReader
from rerank_proxy.http.head import HeadError

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def statuses(heads: AnswerHeads) -> list[int]:
    found = []
    while head := heads.take():
        found.append(head.status)
    return found


def test_interim_heads_come_before_the_final_one() -> None:
    heads = AnswerHeads()
    heads.append(EARLY_HINTS[:9])
    assert heads.take() is None
    heads.append(EARLY_HINTS[9:] + OK)
    interim, final = heads.take(), heads.take()
    assert interim is not None
    assert (interim.status, interim.raw) == (103, EARLY_HINTS)
    assert final is not None
    assert (final.status, heads.block[heads.at :]) == (200, b"ok")


def test_all_interim_heads_together_have_a_limit() -> None:
    heads = AnswerHeads()
    heads.limit = 3 * len(EARLY_HINTS)
    heads.append(EARLY_HINTS * 3)
    assert statuses(heads) == [103] * 3
    heads.append(EARLY_HINTS)
    with pytest.raises(HeadError, match="interim answers are longer than"):
        heads.take()


def test_a_head_has_a_limit() -> None:
    heads = AnswerHeads()
    heads.limit = 50
    heads.append(b"HTTP/1.1 200 OK\r\na: " + b"x" * 50)
    with pytest.raises(HeadError, match="longer than 50 bytes"):
        heads.take()


def test_another_protocol_is_refused() -> None:
    heads = AnswerHeads()
    heads.append(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    with pytest.raises(HeadError, match="another protocol"):
        heads.take()


class TestReader:
    def test_reads_an_answer_in_bytes(self) -> None:
        reader = AnswerReader(2)
        for byte in EARLY_HINTS + OK:
            assert not reader.done
            reader.feed(bytes([byte]))
        assert reader.done
        assert reader.reusable
        assert b"".join(reader.pieces) == b"ok"

    @pytest.mark.parametrize("in_order", [True, False])
    def test_an_answer_until_close_ends_in_order(self, *, in_order: bool) -> None:
        reader = AnswerReader(99)
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\nok")
        if in_order:
            reader.ended()
            assert reader.done
            assert not reader.reusable
        else:
            with pytest.raises(AnswerError, match="broke off"):
                reader.ended(in_order=False)
