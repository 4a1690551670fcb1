"""The heads of an answer: interim ones, up to limits, and the final one."""

import pytest

from rerank_proxy.http.answer_reader import AnswerError, AnswerHeads, AnswerReader, whole_answer
from rerank_proxy.http.head import HeadError, parse_request

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


KEPT = b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: keep-alive\r\nContent-Length: 2\r\nb: 2\r\n\r\nok"


def whole(answer: bytes, method: bytes = b"GET", fields: bytes = b"") -> tuple[int, bytes] | None:
    return whole_answer(answer, parse_request(b"%b / HTTP/1.1\r\n%b\r\n" % (method, fields)))


def test_a_whole_answer_goes_on_at_once() -> None:
    for answer in (KEPT, KEPT.replace(b"ok", b"no")):
        bare = answer.replace(b"Connection: keep-alive\r\n", b"")
        assert whole(bare) == (200, bare)
        assert whole(answer) == (200, bare)


@pytest.mark.parametrize(
    "answer",
    [
        KEPT[:-1],
        KEPT + b"x",
        KEPT[:40],
        KEPT.replace(b"keep-alive", b"close"),
        KEPT.replace(b"1.1", b"1.0"),
        KEPT.replace(b"200", b"204"),
        KEPT.replace(b"200", b"304"),
        KEPT.replace(b"200", b"400"),
        KEPT.replace(b"200", b"103"),
        KEPT.replace(b"Content-Length: 2\r\n", b""),
        KEPT.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        KEPT.replace(b": 2\r\nb", b": x\r\nb"),
        KEPT.replace(b"A:", b"A :"),
    ],
)
def test_other_answers_are_read_piece_by_piece(answer: bytes) -> None:
    assert whole(answer) is None


def test_nor_does_one_to_a_client_that_closes_or_gets_no_body() -> None:
    assert whole(KEPT, b"HEAD") is None
    assert whole(KEPT, b"GET", b"Connection: close\r\n") is None
