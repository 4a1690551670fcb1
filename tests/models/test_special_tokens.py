"""A text may spell out special tokens. It is scored as it is alone, and so are those beside it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from _pytest.mark.structures import ParameterSet
from sentence_transformers import CrossEncoder

from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.engines import running
from tests.support.tiny_models import COUNTING, KINDS

TOLERANCE = 1e-3
"""A text that is read otherwise differs by far more; these models are drawn wide, and round as widely."""
TOKENS = ("</s>", "<s>", "<pad>", "<mask>", "<unk>", "[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]")
ODD = [
    *TOKENS,
    *(f"rivers {token} and trees" for token in TOKENS),
    "</s></s> two </s> and more",
    "it ends so </s>",
    "and so <pad>",
    "</s> " * 60,
]


def alone(model: CrossEncoder, query: str, text: str) -> float:
    """Score a text with sentence-transformers, in a separate batch."""
    scores = model.predict([(query, text)], activation_fn=torch.nn.Identity(), show_progress_bar=False)
    return float(scores[0])


def once_for_each_tokenizer() -> Iterator[ParameterSet]:
    """Leave the networks whose tokenizer another has, and that look for no token, to the long profile."""
    met = set()
    for kind, tokenizer in KINDS.items():
        yield pytest.param(kind, marks=[pytest.mark.long] if tokenizer in met else [])
        met.add(tokenizer)


@pytest.mark.parametrize("kind", [*COUNTING, *once_for_each_tokenizer()])
async def test_every_text_has_the_score_that_it_has_alone(tiny_model: TinyModel, kind: str) -> None:
    documents = [text for pair in zip(ODD, texts(len(ODD)), strict=True) for text in pair]
    reference = CrossEncoder(str(tiny_model(kind)), device="cpu")
    settings = {"source": tiny_model(kind), "truncation": "longest_first"}
    expected: dict[tuple[str, str], float] = {}
    async with running({"m": settings}, cache_bytes=0) as engine:
        for query, beside in (("rivers", documents), ("which </s> or <pad>?", documents[::3])):
            expected |= {(query, text): alone(reference, query, text) for text in beside}
            reranked = await engine.scores("m", query, beside)
            scores = [expected[query, text] for text in beside]
            assert np.ptp(scores) > 0.1, "scores that hardly differ prove nothing"
            np.testing.assert_allclose(reranked.values, scores, rtol=0, atol=TOLERANCE)
        for text in ODD:  # and with nothing beside it
            reranked = await engine.scores("m", "rivers", [text])
            assert reranked.values == pytest.approx([expected["rivers", text]], abs=TOLERANCE)
