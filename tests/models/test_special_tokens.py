"""A text may spell out special tokens. It is scored as it is alone, and so are those beside it."""

import numpy as np
import pytest
import torch
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


@pytest.mark.parametrize("kind", [*COUNTING, *KINDS])
async def test_every_text_has_the_score_that_it_has_alone(tiny_model: TinyModel, kind: str) -> None:
    documents = [text for pair in zip(ODD, texts(len(ODD)), strict=True) for text in pair]
    reference = CrossEncoder(str(tiny_model(kind)), device="cpu")
    async with running({"m": {"source": tiny_model(kind), "truncation": "longest_first"}}) as engine:
        for query in ("rivers", "which </s> or <pad>?"):
            reranked = await engine.scores("m", query, documents)
            expected = [alone(reference, query, text) for text in documents]
            assert np.ptp(expected) > 0.1, "scores that hardly differ prove nothing"
            np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)
        for text in ODD:  # and with nothing beside it
            reranked = await engine.scores("m", "trees", [text])
            assert reranked.values == pytest.approx([alone(reference, "trees", text)], abs=TOLERANCE)
