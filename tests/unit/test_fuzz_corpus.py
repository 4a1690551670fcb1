"""The kept inputs of `make fuzz`, every one that has failed among them, and the engine that changes them."""

import random

import pytest

from tests.fuzz.differences import ONLY_HERE, ONLY_THERE, explained
from tests.fuzz.engine import changed
from tests.fuzz.targets import CORPUS, TARGETS, corpus_of

FEW = 30
"""Inputs of each target that are drawn, always the same."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_holds_and_so_does_what_is_near_it(name: str) -> None:
    target = TARGETS[name]
    kept = [path.read_bytes() for path in corpus_of(name)]
    assert len(kept) >= 2
    chance = random.Random(name)
    for data in (*kept, *(changed(chance.choice(kept), kept, target.words, chance) for _ in range(FEW))):
        target.check(data)


def test_all_of_the_corpus_belongs_to_a_target_and_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert max(sizes) <= 4096
    assert sum(sizes) < 64 * 1024


@pytest.mark.parametrize(
    ("message", "here", "there"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False, False),
        (b"BREW / HTTP/1.1\r\n\r\n", True, False),
        (b"GET /\xff HTTP/1.1\r\n\r\n", True, False),
        (b"GET /\r\n\r\n", False, True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", False, True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", False, True),
    ],
)
def test_the_list_of_differences_explains_nothing_else(message: bytes, here: bool, there: bool) -> None:
    assert explained(ONLY_HERE, message) == here
    assert explained(ONLY_THERE, message) == there
