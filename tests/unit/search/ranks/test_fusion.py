"""Several ranked lists are fused into one, in float32 and in the order of the children."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.fusion import (
    NORMALIZERS,
    fuse_linear,
    fuse_rrf,
    l2_norm,
    minmax,
    normalize_list,
    top,
)
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import Float32s
from rerank_proxy.xcontent.java_numbers import print_float

POOL = 9
SHARD_DOCS = [7, 3, 1 << 32, 5, (1 << 32) + 4, 0, 2 << 32, 9, 1]
"""Of the documents 0 … 8: neither the order of their ids nor of anything else."""

float32s = st.floats(0, 1e6, width=32)
weights = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 3.7]) | st.floats(0, 100, width=32)
windows = st.integers(0, POOL + 2)


def doc(number: int, score: float = 0.0, place: int = 0) -> RankDoc:
    return RankDoc("films", str(number), place, SHARD_DOCS[number], None, f"text {number}", score)


def ranked(numbers: Sequence[int], scores: Sequence[float] = ()) -> list[RankDoc]:
    scores = scores or [100.0 - place for place in range(len(numbers))]
    return [doc(n, float(np.float32(s)), at) for at, (n, s) in enumerate(zip(numbers, scores, strict=True))]


def ids(docs: Sequence[RankDoc]) -> str:
    return "".join(doc.id for doc in docs)


@st.composite
def lists(draw: st.DrawFn) -> list[list[RankDoc]]:
    """Draw what up to four children found, overlapping, with any scores in descending order."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        numbers = draw(st.lists(st.integers(0, POOL - 1), unique=True))
        scores = draw(st.lists(float32s, min_size=len(numbers), max_size=len(numbers)))
        found.append(ranked(numbers, sorted(scores, reverse=True)))
    return found


@st.composite
def fusions(draw: st.DrawFn) -> tuple[list[list[RankDoc]], list[float], list[str], int]:
    found = draw(lists())
    count = len(found)
    return (
        found,
        draw(st.lists(weights, min_size=count, max_size=count)),
        draw(st.lists(st.sampled_from(sorted(NORMALIZERS)), min_size=count, max_size=count)),
        draw(windows),
    )


def loop_rrf(
    found: list[list[RankDoc]], weights: list[float], constant: int, window: int
) -> dict[str, float]:
    """Compute the formula document by document, each step rounded to float32."""
    sums = {}
    for number in range(POOL):
        total, seen = np.float32(0), False
        for child, weight in zip(found, weights, strict=True):
            if str(number) in ids(child[:window]):
                rank = ids(child).index(str(number)) + 1
                total = np.float32(
                    total + np.float32(np.float32(weight) * np.float32(np.float32(1) / (constant + rank)))
                )
                seen = True
        if seen:
            sums[str(number)] = float(total)
    return sums


def loop_normalize(scores: list[float], name: str) -> list[np.float32]:
    """Compute the normalisers number by number, with Python's floats where native has doubles."""
    values = [np.float32(score) for score in scores]
    if name == "minmax" and values:
        least, most = min(values), max(max(values), np.float32(1e-45))
        if most - least < np.float32(1e-6):
            return [np.float32(1)] * len(values)
        return [np.float32(np.float32(value - least) / np.float32(most - least)) for value in values]
    if name == "l2_norm":
        total = 0.0
        for value in values:
            total += float(np.float32(value * value))
        norm = math.sqrt(total)
        if norm >= float(np.float32(1e-6)):
            return [np.float32(float(value) / norm) for value in values]
    return values


def loop_linear(
    found: list[list[RankDoc]], weights: list[float], names: list[str], window: int
) -> dict[str, float]:
    sums: dict[str, np.float32] = {}
    for child, weight, name in zip(found, weights, names, strict=True):
        scores = loop_normalize([doc.score for doc in child[:window]], name)
        for doc, score in zip(child, scores, strict=False):
            part = np.float32(np.float32(weight) * score)
            sums[doc.id] = np.float32(sums.get(doc.id, np.float32(0)) + part)
    return {id_: float(score) for id_, score in sums.items()}


def in_native_order(docs: Sequence[RankDoc]) -> bool:
    return all(
        one.score > next_.score
        or (one.score == next_.score and (one.shard_doc or 0) < (next_.shard_doc or 0))
        for one, next_ in pairwise(docs)
    )


def check(fused: list[RankDoc], sums: dict[str, float], window: int) -> None:
    """Check that the fused list is the first `window` of these sums, with unchanged documents."""
    assert len(fused) == min(window, len(sums))
    assert {doc.id: doc.score for doc in fused}.items() <= sums.items()
    assert in_native_order(fused)
    last = fused[-1].score if fused else math.inf
    assert all(sums[id_] <= last for id_ in sums.keys() - set(ids(fused)))
    assert [doc.place for doc in fused] == list(range(len(fused)))
    assert all(doc == ranked_as_found(doc) for doc in fused)


def ranked_as_found(found: RankDoc) -> RankDoc:
    return doc(int(found.id), found.score, found.place)


class TestRrf:
    @given(fusions(), st.sampled_from([0, 1, 60, 1000]))
    def test_is_the_formula(
        self, case: tuple[list[list[RankDoc]], list[float], list[str], int], constant: int
    ) -> None:
        found, weights, _, window = case
        fused = fuse_rrf(found, weights, constant, window)
        check(fused, loop_rrf(found, weights, constant, window), window)

    @given(lists().flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
    def test_equal_children_in_any_order_find_the_same(
        self, orders: tuple[list[list[RankDoc]], list[list[RankDoc]]]
    ) -> None:
        one, other = (fuse_rrf(found, [1.0] * len(found), 60, POOL) for found in orders)
        assert set(ids(one)) == set(ids(other))
        by_id = {doc.id: doc.score for doc in other}
        assert all(math.isclose(doc.score, by_id[doc.id], rel_tol=1e-6) for doc in one)

    def test_known_scores(self) -> None:
        fused = fuse_rrf([ranked([0, 1, 2]), ranked([0, 2])], [1.0, 1.0], 60, 10)
        assert [(doc.id, print_float(doc.score)) for doc in fused] == [
            ("0", b"0.032786883"), ("2", b"0.032002047"), ("1", b"0.016129032"),
        ]  # fmt: skip

    def test_weights(self) -> None:
        fused = fuse_rrf([ranked([0]), ranked([1]), ranked([2])], [1.0, 0.3, 0.0], 60, 10)
        assert [(doc.id, print_float(doc.score)) for doc in fused] == [
            ("0", b"0.016393442"), ("1", b"0.004918033"), ("2", b"0.0"),
        ]  # fmt: skip

    def test_equal_scores_are_ordered_by_shard_and_doc(self) -> None:
        assert ids(fuse_rrf([ranked([0]), ranked([1]), ranked([2])], [1.0] * 3, 60, 10)) == "102"

    def test_documents_beyond_the_window_do_not_count(self) -> None:
        found = [ranked([0, 1, 2]), ranked([3, 2, 1])]
        assert ids(fuse_rrf(found, [1.0, 1.0], 60, 2)) == "30"
        assert ids(fuse_rrf(found, [1.0, 1.0], 60, 3))[:2] == "12"
        assert fuse_rrf(found, [1.0, 1.0], 60, 0) == []

    def test_the_same_id_elsewhere_is_another_document(self) -> None:
        docs = [
            RankDoc("films", "1", 0, 4),
            RankDoc("films", "1", 0, (1 << 32) + 4),
            RankDoc("books", "1", 0, 5),
        ]
        fused = fuse_rrf([[docs[0]], [docs[1]], [docs[2]]], [1.0] * 3, 60, 10)
        assert [(doc.index, doc.shard_doc) for doc in fused] == [
            ("films", 4), ("books", 5), ("films", (1 << 32) + 4),
        ]  # fmt: skip

    def test_a_negative_constant_is_allowed(self) -> None:
        assert [doc.score for doc in fuse_rrf([ranked([0, 1])], [1.0], -1, 10)] == [math.inf, 1.0]

    def test_each_child_has_a_weight(self) -> None:
        with pytest.raises(ValueError, match="argument"):
            fuse_rrf([ranked([0]), ranked([1])], [1.0], 60, 10)


class TestLinear:
    @given(fusions())
    def test_is_the_formula(self, case: tuple[list[list[RankDoc]], list[float], list[str], int]) -> None:
        found, weights, names, window = case
        fused = fuse_linear(found, weights, names, window)
        check(fused, loop_linear(found, weights, names, window), window)

    @given(fusions(), st.floats(0, 3, width=32))
    def test_min_score_only_removes_documents(
        self, case: tuple[list[list[RankDoc]], list[float], list[str], int], min_score: float
    ) -> None:
        fused = fuse_linear(*case)
        assert fuse_linear(*case, min_score) == [doc for doc in fused if doc.score >= min_score]

    @pytest.mark.parametrize(
        ("min_score", "kept"), [(0.0, "012"), (0.1, "012"), (0.2, "01"), (2.0, "0"), (2.5, "")]
    )
    def test_min_score_is_inclusive_and_single_precision(self, min_score: float, kept: str) -> None:
        found = [ranked([0, 1, 2], [2.0, 0.2, 0.1])]
        assert ids(fuse_linear(found, [1.0], ["none"], 3, min_score)) == kept

    def test_min_score_is_tested_after_the_window_is_cut(self) -> None:
        assert ids(fuse_linear([ranked([0, 1, 2], [3.0, 2.0, 1.0])], [1.0], ["none"], 2, 1.0)) == "01"

    def test_sums_run_in_the_order_of_the_children(self) -> None:
        found = [ranked([0], [score]) for score in (0.1, 0.7, 0.9)]
        one = fuse_linear(found, [1.0] * 3, ["none"] * 3, 10)[0].score
        other = fuse_linear(found[::-1], [1.0] * 3, ["none"] * 3, 10)[0].score
        assert (print_float(one), print_float(other)) == (b"1.7", b"1.6999999")

    def test_a_score_that_is_not_a_number_counts_as_zero(self) -> None:
        found = [ranked([0, 1], [math.nan, 4.0]), ranked([0], [3.0])]
        for name in NORMALIZERS:
            assert ids(fuse_linear(found, [1.0, 0.5], [name, "none"], 10)) == (
                "01" if name != "none" else "10"
            )

    def test_the_last_of_a_list_counts_like_one_that_is_missing(self) -> None:
        fused = fuse_linear(
            [ranked([0, 1], [9.0, 8.0]), ranked([2], [0.5])], [1.0, 1.0], ["minmax", "none"], 9
        )
        assert [(doc.id, doc.score) for doc in fused] == [("0", 1.0), ("2", 0.5), ("1", 0.0)]

    def test_normalising_sees_only_the_window(self) -> None:
        fused = fuse_linear([ranked([0, 1, 2], [9.0, 8.0, 1.0])], [1.0], ["minmax"], 2)
        assert [doc.score for doc in fused] == [1.0, 0.0]

    def test_pinned_scores_are_allowed(self) -> None:
        found = [ranked([0, 1], [1.7014124e38, 1.0])]
        assert [doc.score for doc in fuse_linear(found, [1.0], ["l2_norm"], 9)] == [0.0, 0.0]
        assert [doc.score for doc in fuse_linear(found, [2.0], ["none"], 9)] == [math.inf, 2.0]


def array(*scores: float) -> Float32s:
    return np.array(scores, dtype=np.float32)


class TestNormalizers:
    @given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=30))
    def test_minmax_is_within_zero_and_one(self, scores: list[float]) -> None:
        normalized = minmax(array(*scores))
        assert normalized.dtype == np.float32
        assert bool(np.all((normalized >= 0) & (normalized <= 1)))

    @given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(0, 20))
    def test_minmax_does_not_know_the_scale(self, scores: list[int], exponent: int) -> None:
        scaled = array(*scores) * np.float32(2.0**exponent)
        assert minmax(scaled).tolist() == minmax(array(*scores)).tolist()

    @given(st.lists(float32s, min_size=1, max_size=30))
    def test_minmax_keeps_the_order(self, scores: list[float]) -> None:
        assert bool(np.all(np.diff(minmax(array(*sorted(scores)))) >= 0))

    @pytest.mark.parametrize(
        ("scores", "normalized"),
        [
            ([4.0, 3.0, 2.0], [1.0, 0.5, 0.0]),
            ([5.0], [1.0]),
            ([0.0, 0.0], [1.0, 1.0]),
            ([0.1, 0.0999999], [1.0, 1.0]),  # next to equal
            ([0.000001, 0.0], [1.0, 0.0]),  # not quite
            ([-1.0, -3.0], [0.6666667, 0.0]),  # the highest is never below zero
            ([3.0, math.nan, 1.0], [1.0, math.nan, 0.0]),
            ([3.0, math.nan], [1.0, 1.0]),
            ([math.nan], [math.nan]),
            ([], []),
        ],
    )
    def test_minmax(self, scores: list[float], normalized: list[float]) -> None:
        assert np.array_equal(minmax(array(*scores)), array(*normalized), equal_nan=True)

    @pytest.mark.parametrize(
        ("scores", "normalized"),
        [
            ([3.0, 4.0], [0.6, 0.8]),
            ([-3.0, 4.0], [-0.6, 0.8]),
            ([7.5], [1.0]),
            ([0.0, 0.0], [0.0, 0.0]),
            ([1e-7, 2e-7], [1e-7, 2e-7]),  # too near to zero
            ([3.0, math.nan, 4.0], [0.6, math.nan, 0.8]),
            ([math.nan], [math.nan]),
            ([], []),
        ],
    )
    def test_l2_norm(self, scores: list[float], normalized: list[float]) -> None:
        assert np.array_equal(l2_norm(array(*scores)), array(*normalized), equal_nan=True)

    @given(st.lists(st.floats(0.125, 1e6, width=32), min_size=1, max_size=30))
    def test_l2_norm_has_length_one(self, scores: list[float]) -> None:
        assert math.isclose(float(np.linalg.norm(l2_norm(array(*scores)))), 1, rel_tol=1e-5)

    def test_l2_norm_of_a_long_list(self) -> None:
        scores = np.random.default_rng(5).random(1000, dtype=np.float32) * np.float32(1e4)
        assert l2_norm(scores).tolist() == [float(s) for s in loop_normalize(scores.tolist(), "l2_norm")]

    def test_of_a_list(self) -> None:
        assert normalize_list(ranked([3, 4], [2.0, 1.0]), "none").tolist() == [2.0, 1.0]
        assert normalize_list(ranked([3, 4], [2.0, 1.0]), "minmax").tolist() == [1.0, 0.0]
        assert normalize_list([], "l2_norm").tolist() == []


def test_top_without_shard_and_doc_keeps_places_among_equals() -> None:
    docs = [RankDoc("films", id_, place, score=score) for place, (id_, score) in enumerate(
        [("a", 1.0), ("b", 2.0), ("c", 1.0)]
    )]  # fmt: skip
    assert ids(top(docs, 3)) == "bac"
    assert ids(top(docs, 1)) == "b"
