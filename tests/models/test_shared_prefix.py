"""Rows that begin alike run behind a shared beginning, with the outputs that they have alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.backends.shared_prefix import SharedPrefixBackend, groups
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.samples import texts
from tests.support import tiny_generating
from tests.support.examples import examples

rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=9)


def batch_of(ids: list[list[int]]) -> Batch:
    return Batch.of([Row(np.array(each, np.int32), np.zeros(len(each), np.uint8), False) for each in ids])


@examples(2)
@given(rows=rows)
def test_groups_share_what_they_begin_with(rows: list[list[int]]) -> None:
    found = groups(batch_of(rows))
    assert sorted(row for group in found for row in group.rows) == list(range(len(rows)))
    for group in found:
        beginnings = {tuple(rows[row][: group.prefix]) for row in group.rows}
        assert not group.prefix or len(beginnings) == 1
        assert all(len(rows[row]) > group.prefix for row in group.rows)


def test_requests_are_groups_of_their_own() -> None:
    template = list(range(50))
    one = [[*template, 7, *[7] * 20, at, at] for at in range(100, 104)]
    other = [[*template, 8, *[8] * 20, at] for at in range(100, 104)]
    assert [(list(group.rows), group.prefix) for group in groups(batch_of([*other, *one]))] == [
        ([4, 5, 6, 7], 71),
        ([0, 1, 2, 3], 71),
    ]


@pytest.mark.parametrize("task", ["CausalLM", "SequenceClassification"])
@pytest.mark.parametrize("kind", tiny_generating.KINDS)
def test_outputs_are_those_of_whole_rows(tmp_path: Path, kind: str, task: Any) -> None:
    directory = tiny_generating.build(kind, task, tmp_path, tiny_generating.PAIR_TEMPLATE)
    loaded = load("m", ModelSettings(source=str(directory)), EngineSettings(device="cpu"))
    backend = loaded.backend
    assert type(backend) is SharedPrefixBackend
    plain = PaddedTorchBackend(backend._network, backend._inputs)
    documents = texts(12)
    encoded = [gathered(loaded.scorer.encode(query, documents, range(12))) for query in ("rivers", "a tree")]
    batch = Batch.of([row for pair in zip(*encoded, strict=True) for row in pair])
    assert any(group.prefix > 20 for group in groups(batch))
    assert np.ptp(plain.score(batch)) > 0.1
    np.testing.assert_allclose(backend.score(batch), plain.score(batch), rtol=0, atol=2e-5)
