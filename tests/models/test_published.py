"""Figures that others published for well-known models, where their weights are at hand.

Source: the page "Rerankers Overview" of the Milvus documentation.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.sources.source import resolve
from tests.support.engines import running

DIRECTORY = "TEST_MODELS_DIR"

QUERY = "What event in 1956 marked the official birth of artificial intelligence as a discipline?"
TEXTS = (
    "In 1950, Alan Turing published his seminal paper, 'Computing Machinery and Intelligence,' proposing the "
    "Turing Test as a criterion of intelligence, a foundational concept in the philosophy and development of "
    "artificial intelligence.",
    "The Dartmouth Conference in 1956 is considered the birthplace of artificial intelligence as a field; "
    "here, John McCarthy and others coined the term 'artificial intelligence' and laid out its basic goals.",
    "In 1951, British mathematician and computer scientist Alan Turing also developed the first program "
    "designed to play chess, demonstrating an early example of AI in game strategy.",
    "The invention of the Logic Theorist by Allen Newell, Herbert A. Simon, and Cliff Shaw in 1955 marked "
    "the creation of the first true AI program, which was capable of solving logic problems, akin to proving "
    "mathematical theorems.",
)


def weights(*repositories: str) -> Path:
    """Skip unless one of these is in the directory of the environment or in the hub's cache."""
    given = os.environ.get(DIRECTORY)
    for repository in repositories:
        directory = Path(given or "/nonexistent") / repository.rpartition("/")[2]
        if directory.is_dir():
            return directory
        try:
            return resolve(repository, None, offline=True)
        except ModelLoadError:
            continue
    wanted = repositories[0]
    pytest.skip(f"no weights: set {DIRECTORY} to a directory that holds them, or run `hf download {wanted}`")


async def test_bge_reranker_v2_m3() -> None:
    """Published with the sigmoid, from a model that may have run in float16."""
    model = {"source": weights("BAAI/bge-reranker-v2-m3"), "activation": "sigmoid"}
    async with running({"m": model}) as engine:
        reranked = await engine.scores("m", QUERY, TEXTS)
    published = [0.0326971950177779, 0.9911615761470803, 0.0042116724917325935, 0.006514905766152258]
    np.testing.assert_allclose(reranked.values, published, rtol=0.01, atol=1e-4)


async def test_ms_marco_minilm_l_6_v2() -> None:
    """Published are the first three, as raw logits in float32."""
    model = weights("cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2")
    async with running({"m": model}) as engine:
        reranked = await engine.scores("m", QUERY, TEXTS)
    best = sorted(enumerate(reranked.values), key=lambda each: -each[1])[:3]
    assert [position for position, _ in best] == [1, 0, 3]
    published = [6.250532627105713, -2.9546022415161133, -4.771512031555176]
    np.testing.assert_allclose([score for _, score in best], published, rtol=0, atol=1e-4)
