"""ICU's words and sentences. The examples are what Elasticsearch 9.5.0 finds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks.words import WordStatus, sentence_ends
from rerank_proxy.concurrency.steps import run_at_once
from tests.support.chunks import read

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "ab1_. \n'é中ก😀", max_size=60
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, wörld_x 3.5 a:b", ["Hello", "wörld_x", "3.5", "a:b"]),
        ("don't can\u2019t U.S. co@x.de", ["don't", "can\u2019t", "U.S", "co", "x.de"]),
        ("_ __ -- ½ x²", ["__", "x"]),
        ("中文字 ไทยแลนด์", ["中", "文字", "ไทย", "แลนด์"]),
        ("😀 ©", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    found = read(text)
    ends = dict(zip(found.ends, found.pieces, strict=True))
    assert [ends[end] for end in found.word_ends] == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('Mr. Smith. He left!  "Why?" 3.5', ["Mr. ", "Smith. ", "He left!  ", '"Why?" ', "3.5"]),
        ("apples… e.g. this\nnew line", ["apples… e.g. this\n", "new line"]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    ends = list(sentence_ends(text))
    assert [text[start:end] for start, end in pairwise([0, *ends])] == sentences


@given(TEXTS)
def test_nothing_of_a_text_is_lost(text: str) -> None:
    words = read(text)
    assert "".join(words.pieces) == text
    assert words.ends == [sum(map(len, words.pieces[: n + 1])) for n in range(len(words.pieces))]
    assert set(words.word_ends) <= set(words.ends)
    assert [0, *sentence_ends(text)][-1] == len(text)


@given(TEXTS)
def test_shared_knowledge_changes_nothing(text: str) -> None:
    status = WordStatus()
    read(text[::-1], status)
    assert read(text, status).word_ends == read(text).word_ends


class TestCount:
    def test_of_the_whole(self) -> None:
        assert read("One two, three.").count(0, 15) == 3

    def test_blank_before(self) -> None:
        assert read("One two. Three four.").count(9, 20) == 2

    def test_a_word_right_before_counts_again(self) -> None:
        assert read("One two\nThree four").count(8, 18) == 3

    def test_end_within_a_word(self) -> None:
        assert read("One two").count(0, 5) == 1


class TestSkip:
    def test_words_and_the_blank_behind(self) -> None:
        text = "One two. Three four five."
        assert text[read(text).skip(9, 2) :] == "five."

    def test_none_is_the_boundary_before(self) -> None:
        text = "One two. Three"
        assert text[read(text).skip(9, 0) :] == " Three"

    def test_at_the_start(self) -> None:
        assert read("One two").skip(0, 0) == 0

    @pytest.mark.parametrize("words", [2, 3])
    def test_to_the_end(self, words: int) -> None:
        assert read("One two").skip(0, words) == 7


class TestBetween:
    def test_at_boundaries(self) -> None:
        assert read("One two.").between(4, 8) == ["two", "."]

    @pytest.mark.parametrize("span", [(1, 7), (0, 5)])
    def test_within_a_piece(self, span: tuple[int, int]) -> None:
        assert read("One two.").between(*span) is None

    @given(TEXTS, st.data())
    def test_is_the_part(self, text: str, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        words = read(text)
        pieces = words.between(start, end)
        assert (
            "".join(pieces if pieces is not None else run_at_once(words.part(start, end)).pieces)
            == text[start:end]
        )
