"""Which tokens of a pair are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank_proxy.engine.encoding.truncate import RULES, Rule, balanced, first, longest_first, none, second
from rerank_proxy.engine.errors import InputTooLargeError

counts = st.integers(0, 2000)
budgets = st.integers(2, 600)
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
cutting_rules = pytest.mark.parametrize("rule", [balanced, longest_first, second])


@cutting_rules
@given(query=counts, text=counts, budget=budgets)
def test_what_is_kept_fits_and_was_there(rule: Rule, query: int, text: int, budget: int) -> None:
    kept_query, kept_text = rule(query, text, budget)
    assert 0 <= kept_query <= query
    assert 0 <= kept_text <= text
    assert kept_query + kept_text <= budget


@rules
@given(query=counts, text=counts, budget=budgets)
def test_nothing_is_cut_from_what_fits(rule: Rule, query: int, text: int, budget: int) -> None:
    if query + text <= budget:
        assert rule(query, text, budget) == (query, text)


@cutting_rules
@given(query=counts, text=counts, budget=budgets)
def test_no_room_is_wasted(rule: Rule, query: int, text: int, budget: int) -> None:
    if query + text > budget:
        assert sum(rule(query, text, budget)) == budget


@given(query=counts, text=counts, budget=budgets)
def test_balanced_cuts_neither_side_below_half(query: int, text: int, budget: int) -> None:
    kept_query, kept_text = balanced(query, text, budget)
    half = budget // 2
    assert kept_query == query or kept_query >= half
    assert kept_text == text or kept_text >= half


@given(query=counts, text=counts, budget=budgets)
def test_balanced_is_longest_first_up_to_one_token(query: int, text: int, budget: int) -> None:
    one, other = balanced(query, text, budget), longest_first(query, text, budget)
    assert abs(one[0] - other[0]) <= 1
    assert abs(one[1] - other[1]) <= 1


@given(query=counts, text=counts, budget=budgets)
def test_second_never_cuts_a_query_that_leaves_room(query: int, text: int, budget: int) -> None:
    if query < budget:
        assert second(query, text, budget)[0] == query
    else:
        assert second(query, text, budget) == balanced(query, text, budget)


@given(query=counts, text=counts, budget=budgets)
def test_first_never_cuts_a_text(query: int, text: int, budget: int) -> None:
    if text > budget:
        with pytest.raises(InputTooLargeError, match=rf"for the second sequence.*\[{text}\].*\[{budget}\]"):
            first(query, text, budget)
    else:
        assert first(query, text, budget) == (min(query, budget - text), text)


@given(query=counts, text=counts, budget=budgets)
def test_none_cuts_nothing(query: int, text: int, budget: int) -> None:
    if query + text > budget:
        with pytest.raises(InputTooLargeError, match=rf"Input too large.*\[{query + text}\].*\[{budget}\]"):
            none(query, text, budget)


@pytest.mark.parametrize(
    ("query", "text", "kept"),
    [
        (10, 100, (10, 100)),
        (300, 300, (254, 255)),
        (10, 1000, (10, 499)),
        (1000, 10, (499, 10)),
        (254, 255, (254, 255)),
        (255, 254, (255, 254)),
        (256, 254, (255, 254)),
    ],
)
def test_balanced_of_a_512_token_model(query: int, text: int, kept: tuple[int, int]) -> None:
    """512 tokens less [CLS] and two [SEP]: a budget of 509, halves of 254."""
    assert balanced(query, text, 509) == kept


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"w": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize("strategy", ["longest_first", "only_second"])
@given(query=st.integers(0, 60), text=st.integers(0, 60), budget=st.integers(2, 50))
def test_agrees_with_the_tokenizers_library(strategy: str, query: int, text: int, budget: int) -> None:
    if strategy == "only_second" and query >= budget:
        return  # The library refuses what is cut here.
    tokenizer = word_tokenizer()
    tokenizer.enable_truncation(budget, strategy=strategy)
    encoding = tokenizer.encode("w " * query, "w " * text)
    kept = encoding.sequence_ids.count(0), encoding.sequence_ids.count(1)
    rule = longest_first if strategy == "longest_first" else second
    assert rule(query, text, budget) == kept
