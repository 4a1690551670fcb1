"""From texts to rows, with tokenizers of transformers."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from rerank_proxy.engine.encoding.encode import (
    PlainPairEncoder,
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
    gathered,
)
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.errors import InputTooLargeError
from tests.models.conftest import TinyModel
from tests.support.tiny_models import KINDS, MAX_LENGTH

words = st.lists(st.sampled_from(["rivers", "trees", "Brücke", "北京", "42", "🙂", "</s>"]), max_size=60)


def load(directory: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(directory)


@cache
def both(directory: Path) -> tuple[Any, Tokenizer]:
    """Load a tokenizer of transformers, and one of the engine."""
    return load(directory), Tokenizer(load(directory))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@given(query=words, text=words)
def test_pairs_are_those_of_transformers(
    tiny_model: TinyModel, kind: str, query: list[str], text: list[str]
) -> None:
    reference, tokenizer = both(tiny_model(kind))
    template = derive_pair(tokenizer)
    assert template is not None
    encoder = TemplatePairEncoder(tokenizer, template, MAX_LENGTH, "longest_first")
    first, second = " ".join(query), " ".join(text)
    expected = reference([first], [second], truncation="longest_first", max_length=MAX_LENGTH)
    (row,) = gathered(encoder.encode(first, [second]))
    assert row.ids.tolist() == expected["input_ids"][0]
    if "token_type_ids" in reference.model_input_names:
        assert row.type_ids.tolist() == expected["token_type_ids"][0]
    assert row.truncated == (len(reference([first], [second])["input_ids"][0]) > MAX_LENGTH)


@given(text=words)
def test_single_texts_are_those_of_transformers(tiny_model: TinyModel, kind: str, text: list[str]) -> None:
    reference, tokenizer = both(tiny_model(kind))
    template = derive_single(tokenizer)
    assert template is not None
    (row,) = gathered(TextEncoder(tokenizer, template, MAX_LENGTH).encode([" ".join(text)]))
    expected = reference([" ".join(text)], truncation=True, max_length=MAX_LENGTH)
    assert row.ids.tolist() == expected["input_ids"][0]


def test_a_tokenizer_in_plain_python(tiny_model: TinyModel, tmp_path: Path) -> None:
    fast = load(tiny_model("bert"))
    vocabulary = sorted(fast.get_vocab().items(), key=lambda item: item[1])
    (tmp_path / "vocab.txt").write_text("\n".join(token for token, _ in vocabulary) + "\n")
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    slow_class: Any = BertTokenizerLegacy
    slow = slow_class(str(tmp_path / "vocab.txt"))
    assert not slow.is_fast
    template = derive_pair(Tokenizer(slow))
    assert template is not None
    (row,) = gathered(
        TemplatePairEncoder(Tokenizer(slow), template, 48, "balanced").encode("rivers", ["two trees"])
    )
    assert row.ids.tolist() == fast("rivers", "two trees")["input_ids"]


def text_before_query(directory: Path) -> Any:
    """Load a tokenizer whose pairs follow no template."""
    tokenizer = load(directory)
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $B [SEP] $A [SEP]", special_tokens=special
    )
    return tokenizer


@pytest.mark.parametrize("truncation", ["balanced", "longest_first", "second"])
@pytest.mark.parametrize("query", ["rivers", "", "sea " * 200])
def test_pairs_of_an_odd_build_are_left_to_the_tokenizer(
    tiny_model: TinyModel, truncation: Truncation, query: str
) -> None:
    tokenizer = Tokenizer(text_before_query(tiny_model("bert")))
    assert derive_pair(tokenizer) is None
    documents = ["", "two trees", "trees " * 100]
    made = gathered(PlainPairEncoder(tokenizer, MAX_LENGTH, truncation).encode(query, documents))
    reference = text_before_query(tiny_model("bert"))
    whole = reference([query] * 3, documents)["input_ids"]
    for row, uncut in zip(made, whole, strict=True):
        assert len(row) == min(len(uncut), MAX_LENGTH)
        assert row.truncated == (len(uncut) > MAX_LENGTH)
        if not row.truncated:
            assert row.ids.tolist() == uncut


@pytest.mark.parametrize("text", ["sea", "sea " * (MAX_LENGTH - 4), "sea " * (MAX_LENGTH - 3)])
def test_of_a_pair_of_an_odd_build_only_the_query_is_cut(tiny_model: TinyModel, text: str) -> None:
    tokenizer = Tokenizer(text_before_query(tiny_model("bert")))
    encoder = PlainPairEncoder(tokenizer, MAX_LENGTH, "first")
    (row,) = gathered(encoder.encode("tree " * 60, [text]))
    kept = MAX_LENGTH - 3 - len(text.split())
    reference = text_before_query(tiny_model("bert"))
    assert row.ids.tolist() == reference(["tree " * kept], [text])["input_ids"][0]
    assert row.truncated


@pytest.mark.parametrize(("truncation", "text"), [("first", "sea " * 46), ("none", "sea " * 45)])
def test_a_pair_of_an_odd_build_that_may_not_be_cut(
    tiny_model: TinyModel, truncation: Truncation, text: str
) -> None:
    tokenizer = Tokenizer(text_before_query(tiny_model("bert")))
    encoder = PlainPairEncoder(tokenizer, MAX_LENGTH, truncation)
    with pytest.raises(InputTooLargeError, match="too large"):
        gathered(encoder.encode("tree", [text]))


def test_a_pair_that_was_cut_leaves_no_limit_to_the_next(tiny_model: TinyModel) -> None:
    """With a limit left behind, no beginning of a text would ever have enough tokens."""
    tokenizer = Tokenizer(text_before_query(tiny_model("bert")))
    encoder = PlainPairEncoder(tokenizer, MAX_LENGTH, "longest_first")
    (row,) = gathered(encoder.encode("rivers", ["trees " * 100]))
    assert row.truncated
    assert tokenizer.transformers.backend_tokenizer.truncation is None
