"""`_explanation` in native's words and layout."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.retrievers import explanations
from rerank_proxy.search.retrievers.explanations import Explanation, Source
from rerank_proxy.xcontent.splicing import Printer

COMPACT, PRETTY = Printer(pretty=False), Printer(pretty=True)

CHILD = b'{"value":1.30,"description":"weight(t:\xc3\xa9 in 3)","details":[]}'


def printed(explanation: Explanation) -> Any:
    return json.loads(explanation.printed(COMPACT, 0))


def node(value: float, description: str, *details: Any) -> dict[str, Any]:
    return {"value": value, "description": description, "details": list(details)}


KID = node(1.3, "weight(t:é in 3)")


class TestPrinting:
    def test_compact(self) -> None:
        explanation = Explanation(0.0, 'of "t"', [Explanation(3, "n"), CHILD])
        assert explanation.printed(COMPACT, 4) == (
            b'{"value":0.0,"description":"of \\"t\\"","details":[{"value":3,"description":"n","details":[]},'
            + CHILD
            + b"]}"
        )

    def test_pretty(self) -> None:
        upstream = (
            b"{\n"
            b'          "value" : 1.30,\n'
            b'          "description" : "weight",\n'
            b'          "details" : [\n'
            b"            {\n"
            b'              "value" : 2,\n'
            b'              "description" : "n",\n'
            b'              "details" : [ ]\n'
            b"            }\n"
            b"          ]\n"
            b"        }"
        )
        assert Explanation(0.5, "of", [upstream, Explanation(2, "n")]).printed(PRETTY, 1) == (
            b"{\n"
            b'    "value" : 0.5,\n'
            b'    "description" : "of",\n'
            b'    "details" : [\n'
            b"      {\n"
            b'        "value" : 1.30,\n'
            b'        "description" : "weight",\n'
            b'        "details" : [\n'
            b"          {\n"
            b'            "value" : 2,\n'
            b'            "description" : "n",\n'
            b'            "details" : [ ]\n'
            b"          }\n"
            b"        ]\n"
            b"      },\n"
            b"      {\n"
            b'        "value" : 2,\n'
            b'        "description" : "n",\n'
            b'        "details" : [ ]\n'
            b"      }\n"
            b"    ]\n"
            b"  }"
        )

    @given(
        st.recursive(
            st.builds(Explanation, st.integers() | st.floats(0, 9, width=32), st.text()),
            lambda inner: st.builds(
                Explanation, st.floats(0, 9, width=32), st.text(), st.lists(inner, max_size=3)
            ),
            max_leaves=8,
        ),
        st.integers(0, 6),
        st.integers(0, 6),
        st.booleans(),
    )
    def test_bytes_move_to_where_they_are_put(
        self, inner: Explanation, source: int, depth: int, pretty: bool
    ) -> None:
        """A node that was printed at any depth looks like one that is printed in place."""
        printer = Printer(pretty)
        outer = Explanation(1.0, "of", [inner, Explanation(0.5, "other")])
        moved = Explanation(1.0, "of", [inner.printed(printer, source), Explanation(0.5, "other")])
        assert moved.printed(printer, depth) == outer.printed(printer, depth)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, b"1"),
            (1.0, b"1.0"),
            (0.1, b"0.1"),
            (1 / 3, b"0.33333334"),
            (1e-5, b"1.0E-5"),
            (2e38, b"2.0E38"),
        ],
    )
    def test_ranks_and_scores(self, value: float, text: bytes) -> None:
        assert (
            Explanation(value, "").printed(COMPACT, 0)
            == b'{"value":' + text + b',"description":"","details":[]}'
        )


class TestTextSimilarity:
    def test_description(self) -> None:
        explanation = explanations.text_similarity(1.25, "my-reranker", "body", Source(CHILD))
        assert printed(explanation) == node(
            1.25,
            "text_similarity_reranker match using inference endpoint: [my-reranker] on document field: "
            "[body] matching on source query ",
            KID,
        )

    @pytest.mark.parametrize(
        ("name", "chunks", "end"),
        [
            ("first", None, "matching on source query [first]"),
            (None, 2, "matching on source query and rescoring considering only top [2] best chunks"),
            (
                "first",
                1,
                "matching on source query [first]and rescoring considering only top [1] best chunks",
            ),
            ("", None, "matching on source query []"),
        ],
    )
    def test_names_and_chunks(self, name: str | None, chunks: int | None, end: str) -> None:
        explanation = explanations.text_similarity(1.0, "id", "body", Source(CHILD, name), chunks)
        assert explanation.description.endswith("] " + end)


class TestRrf:
    def test_ranks_and_misses(self) -> None:
        explanation = explanations.rrf(
            0.03226646, 60, [1, None, 3], [Source(CHILD), Source(None, "knn"), Source(CHILD, "third")]
        )
        assert printed(explanation) == node(
            0.03226646,
            "rrf score: [0.03226646] computed for initial ranks [1, 0, 3] with rankConstant: [60] "
            "as sum of [1 / (rank + rankConstant)] for each query",
            node(
                1,
                "rrf score: [0.016393442], for rank [1] in query at index [0] computed as [1 / (1 + 60)], "
                "for matching query with score",
                KID,
            ),
            node(0.0, "rrf score: [0], result not found in query at index [1] [knn]"),
            node(
                3,
                "rrf score: [0.015873017], for rank [3] in query at index [2] [third] computed as "
                "[1 / (3 + 60)], for matching query with score",
                KID,
            ),
        )

    def test_a_rank_prints_as_a_whole_number_and_a_miss_as_a_score(self) -> None:
        explanation = explanations.rrf(0.5, 1, [1, None], [Source(CHILD), Source(None)])
        text = explanation.printed(COMPACT, 0)
        assert text.count(b'{"value":1,"') == 1
        assert text.count(b'{"value":0.0,"') == 1


class TestLinear:
    def test_weights_and_normalizers(self) -> None:
        explanation = explanations.linear(
            1.3666667,
            [2.0, 0.5, 1.0],
            ["minmax", "none", "l2_norm"],
            [1 / 3, 1.4, 0.0],
            [Source(CHILD), Source(CHILD, "second"), Source(None, "third")],
        )
        assert printed(explanation) == node(
            1.3666667,
            "weighted linear combination score: [1.3666667] computed for normalized scores "
            "[0.33333334, 1.4, 0.0] and weights [2.0, 0.5, 1.0] "
            "as sum of (weight[i] * score[i]) for each query.",
            node(
                0.6666667,
                "weighted score: [0.6666667] in query at index [0] computed as [2.0 * 0.33333334] "
                "using score normalizer [minmax] for original matching query with score:",
                KID,
            ),
            node(
                0.7,
                "weighted score: [0.7] in query at index [1] [second] computed as [0.5 * 1.4] "
                "using score normalizer [none] for original matching query with score:",
                KID,
            ),
            node(0.0, "weighted score: [0], result not found in query at index [2] [third]"),
        )

    def test_a_score_of_zero_counts_as_not_found(self) -> None:
        explanation = explanations.linear(0.0, [1.0], ["minmax"], [0.0], [Source(CHILD)])
        assert printed(explanation)["details"] == [
            node(0.0, "weighted score: [0], result not found in query at index [0]")
        ]


class TestRankDoc:
    def test_doc_is_lucenes(self) -> None:
        explanation = explanations.rank_doc((3 << 32) + 17, 1.5, 2, [CHILD])
        assert printed(explanation) == node(
            2,
            "doc [17] with an original score of [1.5] is at rank [2] from the following source queries.",
            KID,
        )
        assert explanation.printed(COMPACT, 0).startswith(b'{"value":2,')

    def test_pinned(self) -> None:
        original = explanations.rank_doc(4, 1.7014122e38, 1, [CHILD])
        assert printed(explanations.pinned(1.7014122e38, original)) == node(
            1.7014122e38,
            "Pinned document, original explanation:",
            node(
                1,
                "doc [4] with an original score of [1.7014122E38] is at rank [1] "
                "from the following source queries.",
                KID,
            ),
        )

    @pytest.mark.parametrize(("ranked", "description"), [(0, ""), (3, "doc not found in top 3 rank docs")])
    def test_not_ranked(self, ranked: int, description: str) -> None:
        assert explanations.not_ranked(ranked).printed(COMPACT, 0) == (
            b'{"value":0.0,"description":"' + description.encode() + b'","details":[]}'
        )

    def test_without_nested(self) -> None:
        assert printed(explanations.without_nested(1.5, Explanation(1, "doc"))) == node(
            1.5,
            "sum of:",
            node(1, "doc"),
            node(
                0.0,
                "match on required clause, product of:",
                node(0.0, "# clause"),
                node(1.0, "FieldExistsQuery [field=_primary_term]"),
            ),
        )


def test_each_child_has_a_source() -> None:
    with pytest.raises(ValueError, match="argument"):
        explanations.rrf(0.1, 60, [1, 2], [Source(CHILD)])
    with pytest.raises(ValueError, match="argument"):
        explanations.linear(0.1, [1.0], ["none"], [1.0, 2.0], [Source(CHILD)])
