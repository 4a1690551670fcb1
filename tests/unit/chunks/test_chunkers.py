"""Each strategy. The examples are what the chunkers of Elasticsearch 9.5.0 answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks.chunkers import by_sentences, by_words, chunk
from rerank_proxy.chunks.settings import (
    MARKDOWN_SEPARATORS,
    PLAINTEXT_SEPARATORS,
    ChunkingSettings,
    NoneChunkingSettings,
    RecursiveChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
)
from rerank_proxy.chunks.words import sentence_ends
from rerank_proxy.concurrency.steps import run_at_once
from tests.support.chunks import read

TEXTS = st.lists(
    st.sampled_from(
        [
            "one",
            "Two",
            "3.5",
            "é",
            "中文",
            "😀",
            "_",
            " ",
            " ",
            " ",
            ". ",
            "! ",
            "\n",
            "\n\n",
            ", ",
            "\n# ",
            "---",
        ]
    ),
    max_size=60,
).map("".join)


def chunks(text: str, settings: ChunkingSettings) -> list[str]:
    return [text[start:end] for start, end in run_at_once(chunk(read(text), settings))]


@pytest.mark.parametrize("text", ["", "One two. Three!\n\n# Four"])
def test_none_is_the_whole_text(text: str) -> None:
    assert chunks(text, NoneChunkingSettings()) == [text]


class TestWords:
    @pytest.mark.parametrize(
        ("size", "overlap", "text", "expected"),
        [
            (3, 0, "One two, three four. Five six seven!", ["One two, three", " four. Five six", " seven!"]),
            (3, 0, "One two three.", ["One two three"]),
            (4, 2, "a b c d e f g", ["a b c d", " c d e f", " e f g"]),
            (4, 2, "a b c d e f", ["a b c d", " c d e f"]),
            (3, 1, "One.", ["One."]),
            (3, 1, "", [""]),
            (3, 1, " ... ", [" ... "]),
            (
                3,
                0,
                "东京都 is 3.14 don't x_y __ 😀 end.",
                ["东京都 is", " 3.14 don't x_y", " __ 😀 end."],
            ),
        ],
    )
    def test_examples(self, size: int, overlap: int, text: str, expected: list[str]) -> None:
        assert chunks(text, WordBoundaryChunkingSettings(size, overlap)) == expected

    @given(TEXTS, st.integers(1, 8))
    def test_without_overlap_only_what_follows_the_last_word_may_be_lost(self, text: str, size: int) -> None:
        joined = "".join(chunks(text, WordBoundaryChunkingSettings(size, 0)))
        assert text.startswith(joined)
        assert not read(text).word_ends or len(joined) >= read(text).word_ends[-1]

    @given(TEXTS, st.integers(1, 12), st.data())
    def test_sizes_and_overlaps(self, text: str, size: int, data: st.DataObject) -> None:
        overlap = data.draw(st.integers(0, size // 2))
        words = read(text)
        parts = run_at_once(by_words(words, size, overlap))
        for part in parts:
            start, end = part.span
            assert part.words == sum(1 for word_end in words.word_ends if start < word_end <= end) <= size
        assert all(part.words == size for part in parts[:-1])
        for before, after in pairwise(parts):
            repeated = [e for e in words.word_ends if after.span[0] < e <= before.span[1]]
            assert len(repeated) == overlap


class TestSentences:
    @pytest.mark.parametrize(
        ("size", "overlap", "text", "expected"),
        [
            (
                5,
                0,
                "One two. Three four five. Six? Seven eight nine ten.",
                ["One two. Three four five. ", "Six? Seven eight nine ten."],
            ),
            (
                5,
                1,
                "One two. Three four five. Six? Seven eight nine ten.",
                ["One two. Three four five. ", "Three four five. Six? ", "Six? Seven eight nine ten."],
            ),
            (
                5,
                0,
                "a b c d e f g h i j k l. M n.",
                ["a b c d e", " d e f g h", " g h i j k", " j k l. M n."],
            ),
            (
                5,
                1,
                "One two. a b c d e f g h. M n o p.",
                ["One two. a b c", " b c d e f", " e f g h. ", "g h. M n o", " n o p."],
            ),
            (4, 0, "One two\nThree four\nFive six\n", ["One two\n", "Three four\n", "Five six\n"]),
            (4, 0, "... !!! One two three. Four five.", ["... !!! One two three. ", "Four five."]),
            (
                8,
                1,
                "One two three four five six. Seven eight. Nine ten eleven twelve thirteen fourteen fifteen.",
                [
                    "One two three four five six. Seven eight. ",
                    " Seven eight. Nine ten eleven twelve thirteen fourteen",
                    " twelve thirteen fourteen fifteen.",
                ],
            ),
            (3, 0, "", [""]),
            (3, 0, "...", ["..."]),
            (
                4,
                0,
                "Mr. Smith paid 3.50 to U.S. firms. He left.",
                ["Mr. ", "Smith paid 3.50 to", " to U.S. firms. ", "He left."],
            ),
            (4, 0, "これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ],
    )
    def test_examples(self, size: int, overlap: int, text: str, expected: list[str]) -> None:
        assert chunks(text, SentenceBoundaryChunkingSettings(size, overlap)) == expected

    @given(TEXTS, st.integers(3, 30))
    def test_without_long_sentences_and_overlap_the_chunks_are_the_text(self, text: str, size: int) -> None:
        words = read(text)
        starts = [0, *sentence_ends(text)]
        longest = max((words.count(a, b) for a, b in pairwise(starts)), default=0)
        spans = run_at_once(by_sentences(words, max(size, longest), overlap=False))
        assert "".join(text[a:b] for a, b in spans) == text

    @given(TEXTS, st.integers(3, 30), st.booleans())
    def test_every_chunk_begins_no_later_than_the_one_before_ends(
        self, text: str, size: int, overlap: bool
    ) -> None:
        spans = run_at_once(by_sentences(read(text), size, overlap=overlap))
        assert spans[0][0] == 0
        assert spans[-1][1] == len(text)
        assert all(after[0] <= before[1] <= after[1] for before, after in pairwise(spans))

    @given(TEXTS, st.integers(3, 30), st.booleans())
    def test_sizes(self, text: str, size: int, overlap: bool) -> None:
        words = read(text)
        for start, end in run_at_once(by_sentences(words, size, overlap=overlap)):
            assert sum(1 for word_end in words.word_ends if start < word_end <= end) <= size


class TestRecursive:
    @pytest.mark.parametrize(
        ("size", "separators", "text", "expected"),
        [
            (
                4,
                PLAINTEXT_SEPARATORS,
                "one two\n\nthree four\nfive six\nseven\n\n\neight nine\n",
                ["one two", "\n\nthree four", "\nfive six", "\nseven\n\n\neight nine", "\n"],
            ),
            (
                3,
                MARKDOWN_SEPARATORS,
                "intro text\n# A\none two\n## B\nthree four five\n# C\nsix",
                ["intro text", "\n# A\n", "one two", "\n## B\n", "three four five", "\n# C\nsix"],
            ),
            (
                3,
                MARKDOWN_SEPARATORS,
                "one two three\nTitle\n---\nfour five six\nOther\n=====\nseven",
                ["one two three", "\nTitle\n---\n", "four five six", "\nOther\n=====\nseven"],
            ),
            (
                3,
                (",",),
                "one two,three four five six. Seven eight,nine",
                ["one two", ",three four five", " five six. ", "Seven eight", ",nine"],
            ),
            (3, ("zzz",), "One two. Three four five. Six.", ["One two. ", "Three four five. ", "Six."]),
            (3, (",",), "One, two", ["One, two"]),
            (3, ("a",), "", [""]),
        ],
    )
    def test_examples(self, size: int, separators: tuple[str, ...], text: str, expected: list[str]) -> None:
        assert chunks(text, RecursiveChunkingSettings(size, separators)) == expected

    def test_any_number_of_separators(self) -> None:
        separators = (*(f"<{n}>" for n in range(3000)), ",")
        assert chunks("One,two,three", RecursiveChunkingSettings(1, separators)) == ["One", ",two", ",three"]

    @given(TEXTS, st.integers(3, 20), st.sampled_from([PLAINTEXT_SEPARATORS, MARKDOWN_SEPARATORS, ("e",)]))
    def test_every_chunk_begins_no_later_than_the_one_before_ends(
        self, text: str, size: int, separators: tuple[str, ...]
    ) -> None:
        spans = run_at_once(chunk(read(text), RecursiveChunkingSettings(size, separators)))
        assert spans[0][0] == 0
        assert spans[-1][1] == len(text)
        assert all(after[0] <= before[1] <= after[1] for before, after in pairwise(spans))
