"""Lucene's terms. The examples are those of the ``StandardAnalyzer`` in Elasticsearch 9.5.0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks.analysis import MAX_TOKEN_LENGTH, Analyzer, lower_case
from rerank_proxy.concurrency.steps import run_at_once
from tests.support.chunks import read


def analyze(text: str) -> list[str]:
    return run_at_once(Analyzer().all_terms(read(text)))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The QUICK brown-fox's 2.5 jumps; over_it!", "the quick brown fox's 2.5 jumps over_it"),
        ("Straße İstanbul ΑΣ", "straße istanbul \u03b1\u03c3"),
        ("日本語 データベース ひらがな", "日 本 語 データベース ひ ら が な"),
        ("ภาษาไทยสวย", "ภาษาไทยสวย"),
        ("한국어Hello 人々3.14", "한국어hello 人 々3.14"),
        ("😀 👨\u200d👩\u200d👧 🇩🇪🇫🇷 © 👍🏽", "😀 👨\u200d👩\u200d👧 🇩🇪 🇫🇷 © 👍🏽"),
        ("#\ufe0f\u20e3 1\ufe0f\u20e3 # 🇩", "#\ufe0f\u20e3 1\ufe0f\u20e3"),
        ("co@x.de http://a.b/c?d=1", "co x.de http a.b c d 1"),
        ("__ _ _x 1,000.5 a.1", "_x 1,000.5 a 1"),
        ("צה\"ל ג' ב.ג", "צה\"ל ג' ב.ג"),
        (
            "\uff12\uff13 x² a\u0301b zero\u200bwidth soft\xadhyphen",
            "\uff12\uff13 x a\u0301b zero width soft\xadhyphen",
        ),
        ("!?", ""),
        ("", ""),
    ],
)
def test_examples(text: str, terms: str) -> None:
    assert analyze(text) == terms.split()


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("a" * 300, [255, 45]),
        ("a" * 255, [255]),
        ("a" * 255 + ".b", [255, 1]),
        ("a" * 254 + ".b c", [254, 1, 1]),
        ("ก" * 600, [255, 255, 90]),
    ],
)
def test_long_words_are_broken(text: str, lengths: list[int]) -> None:
    assert [len(term) for term in analyze(text)] == lengths


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_terms_are_parts_of_the_text_in_order(text: str) -> None:
    lowered = lower_case(text)
    at = 0
    for term in analyze(text):
        assert 0 < len(term) <= MAX_TOKEN_LENGTH
        at = lowered.index(term, at) + len(term)


@given(st.lists(st.text("abÄß1_'.中ก😀한", min_size=1, max_size=8), max_size=12))
def test_what_blanks_part_is_analysed_for_itself(words: list[str]) -> None:
    assert analyze(" ".join(words)) == [term for word in words for term in analyze(word)]


@given(st.lists(st.text("abÄ1.' 中ก😀", max_size=20), max_size=5))
def test_texts_do_not_influence_each_other(texts: list[str]) -> None:
    analyzer = Analyzer()
    assert [run_at_once(analyzer.all_terms(read(text))) for text in texts] == [
        analyze(text) for text in texts
    ]


@pytest.mark.parametrize(
    ("start", "end", "terms"),
    [(0, 7, ["one", "two"]), (3, 7, ["two"]), (1, 6, ["ne", "tw"]), (7, 9, []), (8, 13, ["3.1"]), (0, 0, [])],
)
def test_terms_of_a_part(start: int, end: int, terms: list[str]) -> None:
    steps = Analyzer().terms(read("One two. 3.14"), start, end - 1 if end == 13 else end)
    assert run_at_once(steps) == terms


@given(st.characters(exclude_categories=["Cs"]))
def test_lower_case_is_one_character_for_one(character: str) -> None:
    assert len(lower_case(character)) == 1
    assert lower_case(f"a{character}") == "a" + lower_case(character)
