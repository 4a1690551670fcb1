"""The laws of MaxSim."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.engine.encoding import late_interaction
from rerank_proxy.engine.encoding.encode import Template, TextEncoder
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.late_interaction import LateInteraction, TokenEncoder, max_sim
from rerank_proxy.engine.encoding.scorers import Float32s
from rerank_proxy.engine.encoding.tokenizer import Ids, PlainTokenizer
from rerank_proxy.engine.rows import Output

DIMENSIONS = 4


def vectors(fewest: int = 0) -> st.SearchStrategy[Float32s]:
    shapes = st.tuples(st.integers(fewest, 6), st.just(DIMENSIONS))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-1, 1, width=16)))


class NoTokenizer(PlainTokenizer):
    def _plain_ids(self, texts: object) -> Ids:
        raise AssertionError("only scores are asked for")


@pytest.fixture(scope="module")
def scorer() -> LateInteraction:
    none = np.empty(0, np.int32)
    no_tokens: Any = NoTokenizer()
    encoder = TokenEncoder(TextEncoder(no_tokens, Template(none, none, none, (0, 0, 0, 0, 0)), 8))
    return LateInteraction("fingerprint", encoder, encoder)


def scored(scorer: LateInteraction, query: Float32s, texts: list[Float32s]) -> list[float]:
    scores = scorer.scores([Output(each, False) for each in (query, *texts)])
    while not isinstance(scores, list):
        try:
            next(scores)
        except StopIteration as end:
            return list(end.value)
    return scores


@given(vectors(), vectors(1))
def test_it_is_the_sum_of_the_best_matches(query: Float32s, text: Float32s) -> None:
    expected = sum(max(float(mine @ other) for other in text) for mine in query)
    assert max_sim(query, text) == pytest.approx(expected, abs=1e-4)
    average = max_sim(query, text, averages=True)
    assert average == pytest.approx(expected / max(1, len(query)), abs=1e-4)


@given(vectors(1), vectors(1), st.integers(1, 99))
def test_blocks_of_any_size_give_the_same(query: Float32s, text: Float32s, products: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(late_interaction, "_PRODUCTS_OF_A_BLOCK", products)
        assert max_sim(query, text) == pytest.approx(float((query @ text.T).max(axis=1).sum()), abs=1e-5)


@given(vectors(), vectors(1), st.integers(0, 99))
def test_the_order_of_tokens_does_not_matter(query: Float32s, text: Float32s, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = max_sim(rng.permutation(query), rng.permutation(text))
    assert shuffled == pytest.approx(max_sim(query, text), abs=1e-5)


@given(vectors(), vectors(1), vectors(1))
def test_more_tokens_of_a_text_never_make_it_worse(query: Float32s, text: Float32s, more: Float32s) -> None:
    both = max_sim(query, np.concatenate([text, more]))
    assert both >= max(max_sim(query, text), max_sim(query, more)) - 1e-4


@given(vectors(), st.lists(vectors(), max_size=6), st.sampled_from([1, 50, 10**9]))
def test_steps_of_any_size_give_the_score_of_each_text_alone(
    scorer: LateInteraction, query: Float32s, texts: list[Float32s], products: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(late_interaction, "_PRODUCTS_OF_A_STEP", products)
        assert scored(scorer, query, texts) == [max_sim(query, text) for text in texts]


def test_a_text_without_vectors_is_below_every_other() -> None:
    query = np.full((32, DIMENSIONS), -1, np.float32)
    worst = max_sim(query, np.full((3, DIMENSIONS), 1, np.float32))
    assert max_sim(query, np.empty((0, DIMENSIONS), np.float32)) < worst


def test_texts_and_queries_of_the_same_words_have_keys_of_their_own(scorer: LateInteraction) -> None:
    query, text, same = scorer.keys("rivers", ["rivers", "rivers"])
    assert query != text == same
    assert scorer.keys("other", ["rivers"])[1] == text


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=4, unique=True))
def test_namespaces_have_no_key_in_common(scorer: LateInteraction, namespaces: list[bytes]) -> None:
    """Not even of texts, whose outputs depend on no query."""

    def keys(namespace: bytes) -> list[bytes]:
        return run_at_once(Inputs.of(scorer, "rivers", ["rivers", "lakes"], 100, namespace=namespace)).keys

    given_keys = [keys(namespace) for namespace in (b"", *namespaces)]
    assert len({key for each in given_keys for key in each}) == 3 * len(given_keys)
    assert keys(namespaces[0]) == given_keys[1]
    assert {len(key) for each in given_keys for key in each} == {16}
