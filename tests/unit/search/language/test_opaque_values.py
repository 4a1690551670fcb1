"""Probes of the values that only upstream can read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.language.opaque_values import Probe, overlay, probe_body, probes
from rerank_proxy.xcontent.positions import line_column
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import RESCORE, diversify, linear, pinned, rescorer, rrf, rule
from tests.support.searches import KNN, QUERY, STANDARD, reranking

BUILDER: dict[str, Any] = {"knn": {"field": "v", "k": 1, "query_vector_builder": {"lookup": {"id": "1"}}}}


def asked(body: bytes) -> list[Probe]:
    return probes(parse(body).members["retriever"])


def shown(tree: Any) -> list[str]:
    """Return the texts of the probes of a tree, without whitespace."""
    body = json.dumps({"retriever": tree}, separators=(",", ":")).encode()
    return [probe_body(body, probe).decode().replace(" ", "") for probe in asked(body)]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (reranking()["retriever"], ['{"knn":{"filter":[QUERY]}}']),
        (reranking({"standard": {}})["retriever"], []),
        (rrf(KNN, {"knn": {**KNN["knn"], "filter": []}}, query="a"), []),
        (rrf(STANDARD, {"retriever": STANDARD}), ['{"knn":{"filter":[QUERY,QUERY]}}']),
        ({"rrf": {"retrievers": STANDARD}}, ['{"knn":{"filter":[QUERY]}}']),
        (
            linear(pinned(filter=[QUERY, QUERY]), rule(), filter=QUERY),
            ['{"knn":{"filter":[' + ",".join(["QUERY"] * 5) + "]}}"],
        ),
        (
            rescorer({"standard": {"sort": ["n", "m"], "collapse": {"field": "n"}}}),
            [
                '{"retriever":{"standard":{"sort":["n","m"]}}}',
                '{"retriever":{"standard":{"collapse":{"field":"n"}}}}',
                '{"retriever":{"rescorer":{"rescore":RESCORE}}}',
            ],
        ),
        (
            rescorer(KNN, [RESCORE, RESCORE]),
            ['{"retriever":{"rescorer":{"rescore":[RESCORE,RESCORE]}}}'],
        ),
        (
            diversify(BUILDER, query_vector_builder={"é": {}}),
            [
                '{"knn":{"query_vector_builder":{"lookup":{"id":"1"}}}}',
                '{"knn":{"query_vector_builder":{"\\u00e9":{}}}}',
            ],
        ),
    ],
)
def test_probes(tree: Any, expected: list[str]) -> None:
    for name, value in (("QUERY", QUERY), ("RESCORE", RESCORE)):
        written = json.dumps(value, separators=(",", ":"))
        expected = [text.replace(name, written) for text in expected]
    assert shown(tree) == expected


def test_a_probe_fits_before_the_nearest_query() -> None:
    body = b'{"retriever":{"rrf":{"filter":{"a":{}}}}}'
    (probe,) = asked(body)
    assert probe_body(body, probe) == b'{"knn":{"filter":[            {"a":{}}]}}'


def test_a_probe_fits_before_the_nearest_rescorer() -> None:
    for rescore in (b'{"a":{}}', b'[{"a":{}}]'):
        body = b'{"retriever":{"rescorer":{"rescore":%b}}}' % rescore
        (probe,) = asked(body)
        assert probe_body(body, probe) == body


leaves = st.builds(
    lambda options: {"standard": options},
    st.fixed_dictionaries(
        {},
        optional={
            "query": st.just(QUERY),
            "sort": st.just(["n", {"é": "asc"}]),
            "filter": st.lists(st.just(QUERY), max_size=3),
            "collapse": st.just({"field": "ключ"}),
        },
    ),
) | st.sampled_from([KNN, BUILDER])
trees = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.builds(rescorer, children, st.sampled_from([RESCORE, [RESCORE, RESCORE]])),
        st.builds(lambda child: reranking(child, filter=QUERY)["retriever"], children),
        st.lists(children, min_size=1, max_size=3).map(lambda each: rrf(*each)),
        st.lists(children, min_size=1, max_size=3).map(lambda each: linear(*each)),
    ),
    max_leaves=6,
)
layouts = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 0}, {"indent": 3}, {"indent": "\t", "ensure_ascii": False}]
)
ends_of_lines = st.sampled_from(["\n", "\r\n", " // a\n", "\n/* b\n*/"])


@given(tree=trees, layout=layouts, end_of_line=ends_of_lines, first=st.booleans())
def test_values_keep_their_places(tree: Any, layout: dict[str, Any], end_of_line: str, first: bool) -> None:
    beside = {"_source": "é"}
    whole = {"retriever": tree, **beside} if first else {**beside, "retriever": tree}
    body = json.dumps(whole, **layout).replace("\n", end_of_line).encode()
    starts = []
    for probe in asked(body):
        text = probe_body(body, probe)
        assert parse(text).end == len(text)
        starts.append(probe.start)
        for value in probe.values:
            line, column = line_column(body, value.node.start)
            assert line_column_text(text, line, column, len(value.node.raw)) == value.node.raw
    assert starts == sorted(starts)


def line_column_text(text: bytes, line: int, column: int, length: int) -> bytes:
    """Return the text at a position."""
    before = b"".join(text.splitlines(keepends=True)[: line - 1])
    start = len(before) + column - 1
    return text[start : start + length]


@given(st.text(alphabet="aé\n\r\t ").map(str.encode), st.binary(max_size=3))
def test_what_follows_keeps_its_place(replaced: bytes, text: bytes) -> None:
    text = text.replace(b"\n", b"").replace(b"\r", b"")
    first_line = replaced.splitlines()[0] if replaced.splitlines() else b""
    found = overlay(replaced, text)
    assert found.startswith(text)
    assert not found[len(text) :].strip()
    if len(text) <= len(first_line):
        assert len(found) == len(replaced)
    if len(text) <= len(first_line) or b"\n" in replaced:
        assert line_column(found + b"x", len(found)) == line_column(replaced + b"x", len(replaced))


def test_values_are_found_by_their_offsets() -> None:
    body = json.dumps({"retriever": rrf(STANDARD, STANDARD)}).encode()
    (probe,) = asked(body)
    first, second = probe.values
    assert probe.value_at(first.node.end - 1) is first
    assert probe.value_at(second.node.start - 1) is first
    assert probe.value_at(second.node.start) is second
    assert probe.value_at(len(body)) is second
    assert probe.value_at(0) is first


def test_a_value_can_be_replaced_in_its_tree() -> None:
    root = parse(json.dumps({"retriever": {"standard": {"query": QUERY, "filter": [QUERY, QUERY]}}}).encode())
    standard = root.members["retriever"].members["standard"]
    other = parse(b"{}")
    (probe,) = probes(root.members["retriever"])
    for value in probe.values:
        value.put(other)
    assert standard.members["query"] is other
    assert standard.members["filter"].items == [other, other]
