"""How much is read of a text: never more than a bound, and its tokens are those of the whole."""

import random
from typing import Any, Final

import pytest
from transformers import AutoTokenizer

from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.tokenizer import PIECE_CHARACTERS, PlainTokenizer, Tokenizer
from tests.models.conftest import TinyModel
from tests.support.tiny_models import CORPUS, KINDS

ENOUGH: Final = 40
PARTS: Final = [
    *" ".join(CORPUS).split(),
    *(character * 9_000 for character in "0aé. \n\u0301\u200b中ก!\0"),
    "0" * 101 + "é",
    "é" + "Z" * 300,
    "[MASK]" * 50,
    "<mask>" * 50,
    "a1-" * 3_000,
]


def texts(seed: int) -> list[str]:
    """Words and long runs of one kind, in any order."""
    rng = random.Random(seed)
    return ["".join(rng.choices(PARTS, k=rng.randint(1, 12))) + " rivers" * 60 for _ in range(8)]


def check(tokenizer: PlainTokenizer, documents: list[str]) -> None:
    bounded = gathered(tokenizer.ids(documents, ENOUGH))
    whole = tokenizer._plain_ids(documents)
    assert [ids[:ENOUGH] for ids in bounded] == [ids[:ENOUGH] for ids in whole]
    assert [len(ids) >= ENOUGH for ids in bounded] == [len(ids) >= ENOUGH for ids in whole]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_tokens_are_those_of_the_whole(tiny_model: TinyModel, kind: str, seed: int) -> None:
    check(Tokenizer(AutoTokenizer.from_pretrained(tiny_model(kind))), texts(seed))


def test_of_an_unknown_word_only_the_beginning_is_read(tiny_model: TinyModel) -> None:
    tokenizer = Counting(AutoTokenizer.from_pretrained(tiny_model("bert")))
    check(tokenizer, ["0" * 500_000 + " rivers" * 60, "rivers " * 60])
    tokenizer.characters = 0
    gathered(tokenizer.ids(["0" * 500_000], ENOUGH))
    assert tokenizer.characters < 10_000


@pytest.mark.parametrize("part", [" ", "é", "\u0301", "\0", "0" * 5000 + " ", "word "])
def test_what_is_read_of_a_text_grows_in_pieces(tiny_model: TinyModel, part: str) -> None:
    """Each try but the last reads four times as much as the one before."""
    tokenizer = Counting(AutoTokenizer.from_pretrained(tiny_model("bert")))
    gathered(tokenizer.ids([part * (200_000 // len(part))], ENOUGH))
    assert tokenizer.characters < 200_000 * 7 / 3 + 20_000


def test_many_texts_come_in_pieces(tiny_model: TinyModel) -> None:
    tokenizer = Counting(AutoTokenizer.from_pretrained(tiny_model("bert")))
    documents = ["rivers and trees " * 100] * 500
    assert len(gathered(tokenizer.ids(documents, ENOUGH))) == 500
    assert max(tokenizer.calls) <= PIECE_CHARACTERS
    assert len(tokenizer.calls) > 5


class Counting(Tokenizer):
    """Counts what it tokenises."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.calls: list[int] = []
        self.characters = 0

    def _plain_ids(self, texts: Any) -> list[list[int]]:
        self.calls.append(sum(map(len, texts)))
        self.characters += self.calls[-1]
        return super()._plain_ids(texts)


def test_runs_are_kept_where_a_token_may_be_in_them(tiny_model: TinyModel) -> None:
    fast = AutoTokenizer.from_pretrained(tiny_model("bert"))
    assert Tokenizer(fast)._shortened("0" * 500) == "0" * 101
    fast.add_tokens(["0000"])
    assert Tokenizer(fast)._shortened("0" * 500) == "0" * 500
