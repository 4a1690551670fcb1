"""Prompts: what is cut of them, and that all else is as it would be tokenised whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.prompts import Prompt, PromptEncoder, Segment, Slot
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import RULES, Truncation
from rerank_proxy.engine.errors import InputTooLargeError, NoInstructionError
from tests.support.examples import examples

BODY: Segment = ("<query>: ", Slot.QUERY, "\n<text>: ", Slot.TEXT, "\nanswer:")
TOLD: Segment = ("do: ", Slot.INSTRUCTION, "\n", *BODY)
APART: tuple[Segment, ...] = (("start\n",), ("query: ", Slot.QUERY), ("\n",), ("text: ", Slot.TEXT), ("end",))
PROMPT = Prompt((BODY,), (TOLD,))

words = st.lists(st.sampled_from(["river", "a", "tree ", "\n", "é", "🙂", "42", "  "]), max_size=30).map(
    " ".join
)
rules = st.sampled_from(["balanced", "longest_first", "second"])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    import transformers

    from tests.support import tiny_generating

    directory = tiny_generating.build("qwen2", "CausalLM", tmp_path_factory.mktemp("qwen2"))
    return Tokenizer(transformers.AutoTokenizer.from_pretrained(directory))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.transformers(text, add_special_tokens=False)["input_ids"])


def encoded(encoder: PromptEncoder, query: str, text: str) -> tuple[list[int], bool]:
    (row,) = gathered(encoder.encode(query, [text]))
    return row.ids.tolist(), row.truncated


@examples(0.5)
@given(query=words, text=words)
def test_what_fits_is_tokenised_segment_by_segment(tokenizer: Tokenizer, query: str, text: str) -> None:
    whole = PromptEncoder(tokenizer, PROMPT, 10_000, "balanced")
    assert encoded(whole, query, text) == (
        ids(tokenizer, f"<query>: {query}\n<text>: {text}\nanswer:"),
        False,
    )
    apart = PromptEncoder(tokenizer, Prompt(APART, None, first_token=7), 10_000, "balanced")
    parts = ["start\n", f"query: {query}", "\n", f"text: {text}", "end"]
    assert encoded(apart, query, text)[0] == [7, *gathered(ids(tokenizer, part) for part in parts)]


@examples(0.5)
@given(query=words, text=words, room=st.integers(0, 40), rule=rules)
def test_only_query_and_text_are_cut(
    tokenizer: Tokenizer, query: str, text: str, room: int, rule: Truncation
) -> None:
    prompt = Prompt(APART, None)
    limit = PromptEncoder(tokenizer, prompt, 10_000, rule).template_tokens + room
    cut, truncated = encoded(PromptEncoder(tokenizer, prompt, limit, rule), query, text)
    whole, _ = encoded(PromptEncoder(tokenizer, prompt, 10_000, rule), query, text)
    assert truncated == (len(whole) > limit)
    if not truncated:
        assert cut == whole
        return
    assert len(cut) == limit
    start, end = ids(tokenizer, "start\n"), ids(tokenizer, "end")
    assert cut[: len(start)] == start
    assert cut[len(cut) - len(end) :] == end
    remaining = iter(whole)
    assert all(token in remaining for token in cut), "what is kept has the order it had"


@pytest.mark.parametrize("rule", ["balanced", "longest_first", "second"])
def test_the_rules_are_those_of_all_models(tokenizer: Tokenizer, rule: Truncation) -> None:
    query, text = "42 " * 30, "7 " * 50
    prompt = Prompt((("q:\n",), (Slot.QUERY,), ("\nt:\n",), (Slot.TEXT,)), None)
    encoder = PromptEncoder(tokenizer, prompt, 48, rule)
    cut, _ = encoded(encoder, query, text)
    of_query, of_text = (ids(tokenizer, each) for each in (query, text))
    kept_query, kept_text = RULES[rule](len(of_query), len(of_text), 48 - encoder.template_tokens)
    between = ids(tokenizer, "\nt:\n")
    assert cut == [*ids(tokenizer, "q:\n"), *of_query[:kept_query], *between, *of_text[:kept_text]]


def test_a_text_of_any_length_is_read_in_pieces(tokenizer: Tokenizer) -> None:
    encoder = PromptEncoder(tokenizer, PROMPT, 64, "second")
    long = "river " * 100_000
    (row,) = gathered(encoder.encode("a", [long]))
    assert len(row) == 64
    assert row.truncated
    assert row.ids.tolist() == encoded(encoder, "a", "river " * 200)[0]


def test_an_instruction_has_its_place(tokenizer: Tokenizer) -> None:
    encoder = PromptEncoder(tokenizer, PROMPT, 10_000, "balanced").instructed("find")
    assert encoded(encoder, "q", "t")[0] == ids(tokenizer, "do: find\n<query>: q\n<text>: t\nanswer:")
    with pytest.raises(NoInstructionError, match="has no place for an instruction"):
        PromptEncoder(tokenizer, Prompt(APART, None), 10_000, "balanced", "find")


def test_an_instruction_that_leaves_no_room_is_told(tokenizer: Tokenizer) -> None:
    encoder: Any = PromptEncoder(tokenizer, PROMPT, 64, "balanced").instructed("find " * 100)
    with pytest.raises(InputTooLargeError, match="The instruction is too long"):
        list(encoder.encode("q", ["t"]))
