"""Attention within all rows at once, as on GPUs: the same as by groups of rows of equal length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rerank_proxy.engine.backends.packed import at_once
from rerank_proxy.engine.backends.packed.attention import Full
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.window import Window
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.choosing.backend_choice import speed_ratio
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.examples import examples
from tests.support.tiny_models import KINDS

HEADS, SIZE = 2, 8


def kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Tensor,
    keys: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
) -> Tensor:
    """What torch documents `varlen_attn` to give, which runs on GPUs only: row by row, and on any device."""
    assert queries.dtype == keys.dtype == torch.int32
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert int(queries.diff().max()) == most_queries
    assert int(keys.diff().max()) == most_keys
    mixed = torch.empty_like(query)
    for row in range(len(queries) - 1):
        own, others = slice(queries[row], queries[row + 1]), slice(keys[row], keys[row + 1])
        count, seen = int(queries[row + 1] - queries[row]), int(keys[row + 1] - keys[row])
        # Windows are aligned with the end of a row.
        ahead = torch.arange(seen) - (torch.arange(count) + seen - count)[:, None]
        left, right = (seen if each < 0 else each for each in window_size)
        mask = (ahead >= -left) & (ahead <= right)
        part = [each.transpose(0, 1) for each in (query[own], key[others], value[others])]
        output = functional.scaled_dot_product_attention(part[0], part[1], part[2], mask, scale=scale)
        mixed[own] = output.transpose(0, 1)
    return mixed


def layout_of(lengths: Sequence[int]) -> Layout:
    tokens = np.zeros(sum(lengths), np.int64)
    return Layout.of(Batch(tokens, tokens, np.array(lengths)), torch.device("cpu"))


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@pytest.mark.parametrize("way", ["padded", "ragged"])
@given(
    lengths=LENGTHS,
    firsts=st.booleans(),
    scale=st.sampled_from([None, 0.5]),
    reach=st.sampled_from([None, 1, 3, 64]),
    seed=st.integers(0, 100),
)
@examples(2)
def test_at_once_and_by_groups(
    way: str, lengths: list[int], firsts: bool, scale: float | None, reach: int | None, seed: int
) -> None:
    layout = layout_of(lengths)
    merged = torch.randn(sum(lengths), 3 * HEADS * SIZE, generator=torch.Generator().manual_seed(seed))
    if reach is not None:
        scale = None  # Those that have windows have no scale of their own.
    if way == "ragged" and firsts and reach is not None:
        reach = None  # `attend` leaves these to the other way.
    by_groups: Any = Full(HEADS, scale=scale) if reach is None else Window(HEADS, reach)
    expected = by_groups(merged, layout, firsts=firsts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_once, "kernel", lambda: kernel)
        given = getattr(at_once, way)(merged, layout, HEADS, firsts=firsts, scale=scale, reach=reach)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("firsts", "reach"), [(False, None), (True, None), (False, 3), (True, 3)])
def test_where_there_is_no_kernel_rows_are_padded(firsts: bool, reach: int | None) -> None:
    layout = layout_of([5, 20])
    merged = torch.randn(25, 3 * HEADS * SIZE)
    given = at_once.attend(merged, layout, HEADS, firsts=firsts, reach=reach)
    by_groups: Any = Full(HEADS) if reach is None else Window(HEADS, reach)
    torch.testing.assert_close(given, by_groups(merged, layout, firsts=firsts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_models(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel, kind: str) -> None:
    model = load("m", ModelSettings(source=str(tiny_model(kind))), EngineSettings())
    batch = Batch.of(gathered(model.scorer.encode("rivers", texts(9), range(9))))
    expected = model.backend.score(batch)
    monkeypatch.setattr(Layout, "at_once", True)
    np.testing.assert_allclose(model.backend.score(batch), expected, rtol=0, atol=1e-5)


def test_the_first_rounds_do_not_count_where_speed_is_measured() -> None:
    """A device prepares things once, however long that takes."""
    now = 0.0

    class Timed:
        padded = serial = True

        def __init__(self, *seconds: float) -> None:
            self._seconds = iter(seconds)

        def score(self, batch: Batch) -> NDArray[np.float32]:
            nonlocal now
            now += next(self._seconds)
            return np.zeros((len(batch), 1), np.float32)

    packed, padded = Timed(90, 2, 1, 3), Timed(5, 4, 4, 3)
    assert speed_ratio(packed, padded, layout_of([3]).batch, lambda: now) == 3


def test_torch_has_the_kernel() -> None:
    """Its arguments are those that are given to it."""
    found = at_once.kernel()
    assert found is not None
    tokens = torch.zeros(3, HEADS, SIZE)
    bounds = torch.tensor([0, 3], dtype=torch.int32)
    with pytest.raises(NotImplementedError, match="CPU"):
        found(tokens, tokens, tokens, bounds, bounds, 3, 3, scale=None, window_size=(-1, -1))
