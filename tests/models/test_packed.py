"""Families without padding: the outputs are those of the model of transformers, row by row."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.networks import Classifier, Encoder, Pooling
from rerank_proxy.engine.backends.packed import MODEL_TYPES, PackedTorchBackend, probe_tokens, supports
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.rows import Batch, Row
from tests.support.examples import examples

TOLERANCE = 1e-5
LONGEST = 80
VOCABULARY = 60
PADDING = 1

_MODELS: Any = transformers.AutoModelForSequenceClassification
_SIZES: Final = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.3,
    "max_position_embeddings": LONGEST + 2,
    "num_labels": 1,
    "pad_token_id": PADDING,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_DEBERTA: Final = {
    "relative_attention": True,
    "position_buckets": 8,
    "max_relative_positions": 40,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
    "position_biased_input": False,
}
_MODERNBERT: Final = {
    "num_hidden_layers": 4,
    "global_attn_every_n_layers": 3,
    "local_attention": 8,
    "initializer_cutoff_factor": 3.0,
    "cls_token_id": 0,
    "sep_token_id": 2,
}
KINDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    **{kind: (kind, {}) for kind in MODEL_TYPES if kind not in ("deberta-v2", "modernbert", "distilbert")},
    "distilbert": ("distilbert", {"hidden_dim": 24}),
    "gte without segments": ("gte", {"type_vocab_size": 0}),
    "deberta-v3": ("deberta-v2", _DEBERTA),
    "deberta with own projections": ("deberta-v2", {**_DEBERTA, "share_att_key": False}),
    "deberta, contents to positions": ("deberta-v2", {**_DEBERTA, "pos_att_type": ["c2p"]}),
    "deberta, positions to contents": ("deberta-v2", {**_DEBERTA, "pos_att_type": ["p2c"]}),
    "deberta without buckets": ("deberta-v2", {**_DEBERTA, "position_buckets": -1}),
    "deberta with absolute positions": (
        "deberta-v2",
        {"position_biased_input": True, "type_vocab_size": 2, "embedding_size": 12},
    ),
    "modernbert, mean": ("modernbert", {**_MODERNBERT, "classifier_pooling": "mean"}),
    "modernbert, first": ("modernbert", {**_MODERNBERT, "classifier_pooling": "cls"}),
    "modernbert that ends locally": ("modernbert", {**_MODERNBERT, "num_hidden_layers": 3, "mlp_bias": True}),
}


@cache
def classifier(kind: str) -> Classifier:
    model_type, own = KINDS[kind]
    torch.manual_seed(len(kind))
    config = transformers.AutoConfig.for_model(model_type, **{**_SIZES, **own})
    return Classifier(_MODELS.from_config(config)).eval()


def encoder(kind: str, pooling: str) -> Encoder:
    model = classifier(kind).model
    return Encoder(getattr(model, model.base_model_prefix), [Pooling([pooling])]).eval()


def rows(lengths: list[int]) -> list[Row]:
    """Make rows of random ids, the same for a length and place. One may be that of padding."""
    made = []
    for place, length in enumerate(lengths):
        ids = np.random.default_rng([place, length]).integers(0, VOCABULARY, length, dtype=np.int32)
        made.append(Row(ids, np.zeros(length, np.uint8), False))
    return made


def alone(network: Classifier | Encoder, every: list[Row]) -> "np.ndarray[Any, Any]":
    padded = PaddedTorchBackend(network, ModelInputs(torch.device("cpu"), PADDING, type_ids=False))
    return np.concatenate([padded.score(Batch.of([row])) for row in every])


def check(network: Classifier | Encoder, lengths: list[int]) -> None:
    assert supports(network)
    every = rows(lengths)
    expected = alone(network, every)
    packed = PackedTorchBackend(network).score(Batch.of(every))
    np.testing.assert_allclose(packed, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=8))
@examples(0.2)
def test_rows_of_any_lengths_together_are_the_rows_alone(kind: str, lengths: list[int]) -> None:
    check(classifier(kind), lengths)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", KINDS)
def test_encoders(kind: str, pooling: str) -> None:
    """The lengths lie around all borders: of windows, of their blocks, of buckets."""
    check(encoder(kind, pooling), [1, 2, 4, 5, 5, 6, 9, 15, 16, 17, 17, 19, 20, 21, 24, LONGEST])


@pytest.mark.parametrize("length", [1, 30])
def test_many_rows_of_one_length(length: int) -> None:
    for kind in ("deberta-v3", "modernbert, mean", "mpnet"):
        check(classifier(kind), [length] * 12)


def test_long_rows_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few products as a row of the greatest length has by itself: some rows of some heads at a time."""
    monkeypatch.setattr("rerank_proxy.engine.backends.packed.deberta._MOST_PRODUCTS", 1500)
    check(classifier("deberta-v3"), [3, 3, 3, 20, 20, 20, 20, LONGEST, LONGEST])


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("deberta-v2", {**_DEBERTA, "conv_kernel_size": 3}),
        ("gte", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        ("bert", {"is_decoder": True}),
        ("albert", {}),
    ],
)
def test_what_is_not_built_that_way_is_not_supported(kind: str, own: dict[str, Any]) -> None:
    config = transformers.AutoConfig.for_model(kind, **{**_SIZES, **own})
    assert not supports(Classifier(_MODELS.from_config(config)))


@pytest.mark.parametrize(
    ("kind", "border"), [("deberta-v3", 4), ("mpnet", 128), ("modernbert, mean", 16), ("bert", -1)]
)
def test_rows_that_models_are_tried_with_cross_every_border(kind: str, border: int) -> None:
    """Half of the buckets, the farthest distance with a bucket of its own, the rows that run by blocks."""
    assert probe_tokens(classifier(kind)) > border
