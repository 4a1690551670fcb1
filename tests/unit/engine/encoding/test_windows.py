"""Which windows a text is divided into, and the score that theirs give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.divided_texts import DividedTexts
from rerank_proxy.engine.encoding.windows import Division, Reduction, divided, reduced
from rerank_proxy.engine.rows import Output, Row, tokens_of
from tests.unit.engine.doubles import row

rooms = st.integers(1, 60)
counts = st.integers(0, 2000)
divisions = st.builds(Division, overlap=st.integers(0, 40), most=st.integers(1, 30))


@given(division=divisions, tokens=counts, room=rooms)
def test_windows_fit_and_leave_nothing_out(division: Division, tokens: int, room: int) -> None:
    spans = division.spans(tokens, room)
    assert len(spans) <= division.most
    assert all(0 <= end - start <= room for start, end in spans)
    assert spans[0][0] == 0
    assert spans[-1][1] == min(tokens, division.capacity(room))
    assert (len(spans) == 1) == (tokens <= room or division.most == 1)


@given(division=divisions, tokens=counts, room=rooms)
def test_neighbours_share_the_overlap(division: Division, tokens: int, room: int) -> None:
    spans = division.spans(tokens, room)
    shared = min(division.overlap, room // 2)
    assert all(end - start == room for start, end in spans[:-1])
    assert all(spans[at][1] - spans[at + 1][0] == shared for at in range(len(spans) - 1))


@given(tokens=st.integers(1, 300), room=st.integers(2, 60), data=st.data())
def test_windows_are_those_of_the_tokenizers_library(tokens: int, room: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, room // 2))
    words = {str(number): number for number in range(300)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(room, stride=overlap)
    first = tokenizer.encode(" ".join(map(str, range(tokens))))
    expected = [first.ids, *(each.ids for each in first.overflowing)]
    spans = Division(overlap, 1000).spans(tokens, room)
    assert [list(range(start, end)) for start, end in spans] == expected


@pytest.mark.parametrize(("reduction", "expected"), [("max", [3.0, 7.0, 5.0]), ("mean", [2.0, 7.0, 4.5])])
def test_the_score_of_a_text_is_that_of_its_own_windows(reduction: Reduction, expected: list[float]) -> None:
    scores = np.array([1, 3, 2, 7, 4, 5], np.float32)
    assert reduced(scores, [3, 1, 2], reduction).tolist() == expected


def test_rows_of_windows_run_as_jobs_and_are_remembered_as_one_text() -> None:
    cache = OutputCache(100_000)
    windows = [row(5, 1), row(5, 2), row(3, 3)]
    texts = {b"short": row(4, 9), b"long": divided(windows, cut=True)}
    assert tokens_of(texts.values()) == 17
    made = DividedTexts(texts, cache)
    assert [each.ids[0] for each in made.rows.values()] == [9, 1, 2, 3]
    assert [each.truncated for each in made.rows.values()] == [False, False, False, True]
    assert not any(each.further for each in made.rows.values())
    outputs = {key: _output(each) for key, each in made.rows.items()}
    for key, output in outputs.items():
        cache.put(key, output)
    joined = made.joined(outputs)
    assert set(joined) == set(texts)
    assert joined[b"long"].values.tolist() == [[1], [2], [3]]
    assert joined[b"long"].truncated
    assert cache.get(b"long") is joined[b"long"]
    assert [key for key in outputs if cache.get(key) is not None] == [b"short"]


def test_windows_of_a_call_that_was_given_up_do_not_run_again() -> None:
    cache = OutputCache(100_000)
    texts = {b"long": divided([row(5, 1), row(5, 2)], cut=False)}
    first, _ = DividedTexts(texts, cache).rows
    cache.put(first, Output(np.array([1], np.float32), False))
    again = DividedTexts(texts, cache)
    assert [each.ids[0] for each in again.rows.values()] == [2]
    joined = again.joined({key: _output(each) for key, each in again.rows.items()})
    assert joined[b"long"].values.tolist() == [[1], [2]]


def _output(each: Row) -> Output:
    return Output(each.ids[:1].astype(np.float32), each.truncated)
