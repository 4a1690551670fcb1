"""The answer: upstream's bytes with hits reordered, scores replaced and nothing else changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.answer import reply
from rerank_proxy.search.inner.window import Window, read_window
from rerank_proxy.search.ranks.ranking import rank
from rerank_proxy.xcontent.splicing import Printer
from tests.support.searches import request, reranking

SOURCES = [
    b'{"text":"one","n":123456789012345678901234567890,"p":1.10}',
    b'{ "text" : "tw\\u006f",\n "z":-0,"e":1E5,"s":"\\/" }',
    b'{"text":"three","lone":"\\ud800","a":1,"a":2}',
    b'{"note":"has no text"}',
]
FIELDS = [b'{"text":["one"]}', b'{"text":["two","2"],"_slot":[0]}', b'{"text":["three"]}', None]


def hit(place: int, pretty: bool) -> bytes:
    members = {
        "_index": b'"films"',
        "_id": b'"%d"' % place,
        "_score": b"%d.5" % (9 - place),
        "_ignored": b'["kw"]',
        "_source": SOURCES[place],
    }
    if (fields := FIELDS[place]) is not None:
        members["fields"] = fields
        members["ignored_field_values"] = b'{"text":["long"]}'
    return Printer(pretty).object(members, 3)


def answer(
    pretty: bool = False, *, total: bytes | None = b'{"value":9,"relation":"eq"}', hits: int = 4
) -> bytes:
    printer = Printer(pretty)
    outer = {"max_score": b"9.5", "hits": printer.array([hit(place, pretty) for place in range(hits)], 2)}
    if total is not None:
        outer = {"total": total, **outer}
    shards = printer.value({"total": 1, "successful": 1}, 1)
    top = {"took": b"99", "timed_out": b"false", "_shards": shards, "hits": printer.object(outer, 1)}
    return printer.object(top, 0) + printer.end()


def window(raw: bytes | None = None) -> Window:
    return read_window(answer() if raw is None else raw, "text")


def build(body: Any = None, query: str = "", raw: bytes | None = None) -> bytes:
    """Return an answer in which 2 is ranked first, then 1, then 0, and 3 has no text."""
    parsed = request(reranking() if body is None else body, query)
    found = window(raw)
    docs = [doc for doc in found.docs if doc.text is not None]
    ranked = rank(docs, [float(doc.place) for doc in docs], parsed.retriever.min_score)
    return reply.from_window(parsed, found, ranked, took_ms=7)


def test_the_window_is_read() -> None:
    docs = window().docs
    assert [(doc.index, doc.id, doc.place, doc.first_score) for doc in docs] == [
        ("films", "0", 0, 9.5), ("films", "1", 1, 8.5), ("films", "2", 2, 7.5), ("films", "3", 3, 6.5),
    ]  # fmt: skip
    assert [doc.text for doc in docs] == ["one", "two", "three", None]
    assert {doc.shard_doc for doc in docs} == {None}


def test_shard_and_doc_are_the_last_sort_value() -> None:
    raw = answer().replace(b'"_score":9.5', b'"_score":null,"sort":["x",1.5,4294967298]')
    first = read_window(raw, "text").docs[0]
    assert (first.shard_doc, first.first_score) == (4294967298, None)


def test_the_compact_answer() -> None:
    assert build() == (
        b'{"took":7,"timed_out":false,"_shards":{"total":1,"successful":1},'
        b'"hits":{"total":{"value":9,"relation":"eq"},"max_score":3.0,"hits":['
        b'{"_index":"films","_id":"2","_score":3.0,"_ignored":["kw"],"_source":' + SOURCES[2] + b"},"
        b'{"_index":"films","_id":"1","_score":2.0,"_ignored":["kw"],"_source":' + SOURCES[1] + b","
        b'"fields":{"_slot":[0]}},'
        b'{"_index":"films","_id":"0","_score":1.0,"_ignored":["kw"],"_source":' + SOURCES[0] + b"}]}}"
    )


def test_the_pretty_answer() -> None:
    text = build({**reranking(), "size": 1}, raw=answer(pretty=True)).decode()
    assert text == (
        """\
{
  "took" : 7,
  "timed_out" : false,
  "_shards" : {
    "total" : 1,
    "successful" : 1
  },
  "hits" : {
    "total" : {
      "value" : 9,
      "relation" : "eq"
    },
    "max_score" : 3.0,
    "hits" : [
      {
        "_index" : "films",
        "_id" : "2",
        "_score" : 3.0,
        "_ignored" : [
          "kw"
        ],
        "_source" : SOURCE
      }
    ]
  }
}
""".replace('[\n          "kw"\n        ]', '["kw"]').replace("SOURCE", SOURCES[2].decode())
    )  # values keep their layout, which is compact here
    empty = build({**reranking(), "size": 0}, raw=answer(pretty=True)).decode()
    assert '"hits" : [ ]\n' in empty


@pytest.mark.parametrize("pretty", [False, True])
def test_sources_keep_their_bytes(pretty: bool) -> None:
    body = build(raw=answer(pretty))
    for source in SOURCES[:3]:
        assert body.count(source) == 1


@pytest.mark.parametrize(
    ("top", "ids", "max_score"),
    [
        ({}, "210", 3.0),
        ({"size": 2}, "21", 3.0),
        ({"from": 1}, "10", 3.0),
        ({"from": 1, "size": 1}, "1", 3.0),
        ({"from": 3}, "", None),
        ({"size": 0}, "", None),
        ({"min_score": 2.0}, "21", 3.0),
        ({"min_score": 2.5, "from": 1}, "", 3.0),
        ({"min_score": 9}, "", None),
    ],
)
def test_pages(top: dict[str, Any], ids: str, max_score: float | None) -> None:
    hits = json.loads(build({**reranking(), **top}))["hits"]
    assert "".join(found["_id"] for found in hits["hits"]) == ids
    assert hits["max_score"] == max_score
    assert list(hits) == ["total", "max_score", "hits"]


@pytest.mark.parametrize(
    ("track", "raw_total", "as_int", "expected"),
    [
        (None, b'{"value":9,"relation":"eq"}', False, {"value": 9, "relation": "eq"}),
        (2, b'{"value":2,"relation":"gte"}', False, {"value": 2, "relation": "gte"}),
        (3, b'{"value":3,"relation":"gte"}', False, {"value": 3, "relation": "eq"}),
        (False, None, False, None),
        (True, b"9", True, 9),
        (None, b"9", True, 9),
        (False, b"-1", True, -1),
    ],
)
def test_forms_of_the_total(track: Any, raw_total: bytes | None, as_int: bool, expected: Any) -> None:
    body = reranking() if track is None else {**reranking(), "track_total_hits": track}
    query = "rest_total_hits_as_int=true" if as_int else ""
    assert json.loads(build(body, query, answer(total=raw_total)))["hits"].get("total") == expected


def test_without_any_hit_upstreams_max_score_is_kept() -> None:
    """It is 0.0 if no shard was searched at all, else null."""
    raw = answer(hits=0).replace(b'"max_score":9.5', b'"max_score":0.0')
    assert b'"max_score":0.0,"hits":[]' in build(raw=raw)


@pytest.mark.parametrize("pretty", [False, True])
def test_the_final_answer_is_kept_except_for_the_point_in_time(pretty: bool) -> None:
    given_ = answer(pretty)
    with_pit = (
        given_.replace(b"{", b'{"pit_id":"x",', 1) if not pretty else (b'{\n  "pit_id" : "x",' + given_[1:])
    )
    expected = given_.replace(b'"took":99', b'"took":7').replace(b'"took" : 99', b'"took" : 7')
    assert reply.from_final(with_pit, 7, own_pit=True) == expected
    assert reply.from_final(given_, 7, own_pit=True) == expected
    kept = json.loads(
        reply.from_final(answer().replace(b"{", b'{"pit_id":"x",', 1), 7, own_pit=False).replace(
            b"\\ud800", b"_"
        )
    )
    assert kept["pit_id"] == "x"


words = st.text(st.characters(exclude_categories=()), max_size=6) | st.sampled_from(
    [',"fields":{"text":["x"]}', '"_score":1', "ignored_field_values", "}", "\\"]
)  # fmt: skip
objects = st.dictionaries(
    words | st.sampled_from(["fields", "_score", "text", "ignored_field_values"]),
    st.recursive(words | st.integers(), lambda inner: st.dictionaries(st.just("fields") | words, inner)),
    max_size=3,
)
PRINTED_FIRST = {
    "_index": words,
    "_id": words,
    "_version": st.integers(1),
    "_seq_no": st.integers(0),
    "_primary_term": st.integers(1),
    "_score": st.none() | st.floats(0, 9),
    "_ignored": st.just(["kw"]),
    "_source": objects,
}
PRINTED_LAST = {
    "ignored_field_values": st.just({"text": ["long"]}),
    "highlight": objects,
    "matched_queries": st.just(["name"]),
    "inner_hits": objects,
}
"""In the order of ``SearchHit#toInnerXContent``, where `fields` comes between these and those."""


def parts_of_hits(strategies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, bytes]]:
    needed = {name: each for name, each in strategies.items() if name in ("_index", "_id", "_score")}
    optional = {name: each for name, each in strategies.items() if name not in needed}
    drawn = st.fixed_dictionaries(needed, optional=optional)
    return drawn.map(lambda hit: {name: json.dumps(hit[name]).encode() for name in strategies if name in hit})


@given(
    parts_of_hits(PRINTED_FIRST),
    st.dictionaries(st.sampled_from(["text", "_slot"]), st.lists(words | st.integers(), max_size=2)),
    parts_of_hits(PRINTED_LAST),
    st.booleans(),
)
def test_a_hit_is_as_if_printed_anew(
    first: dict[str, bytes], fields: dict[str, list[Any]], last: dict[str, bytes], pretty: bool
) -> None:
    printer = Printer(pretty)

    def answer(hit: dict[str, bytes], max_score: bytes) -> bytes:
        outer = {"max_score": max_score, "hits": printer.array([printer.object(hit, 3)], 2)}
        return (
            printer.object({"took": b"1", "_shards": b"{}", "hits": printer.object(outer, 1)}, 0)
            + printer.end()
        )

    def section(fields: dict[str, list[Any]]) -> dict[str, bytes]:
        values = {name: json.dumps(value).encode() for name, value in fields.items()}
        return {"fields": printer.object(values, 4)} if fields else {}

    found = read_window(answer({**first, **section(fields), **last}, b"9.5"), "text")
    fields.pop("text", None)
    last.pop("ignored_field_values", None)
    parsed = request({**reranking(), "track_total_hits": False})
    made = reply.from_window(parsed, found, [doc.scored(2.5) for doc in found.docs], 1)
    assert made == answer({**first, "_score": b"2.5", **last, **section(fields)}, b"2.5")


@given(st.lists(st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
), max_size=4), st.booleans())  # fmt: skip
def test_any_source_survives(sources: list[Any], pretty: bool) -> None:
    printer = Printer(pretty)
    raws = [json.dumps(source).encode() for source in sources]
    hits = [
        printer.object(
            {"_index": b'"i"', "_id": b'"%d"' % place, "_score": b"1.0", "_source": raw,
             "fields": b'{"text":["x"]}'}, 3
        )
        for place, raw in enumerate(raws)
    ]  # fmt: skip
    outer = printer.object({"max_score": b"1.0", "hits": printer.array(hits, 2)}, 1)
    raw_answer = printer.object({"took": b"1", "_shards": b"{}", "hits": outer}, 0)
    parsed = request({**reranking(), "track_total_hits": False})
    found = read_window(raw_answer, "text")
    ranked = rank(found.docs, [float(-doc.place) for doc in found.docs], None)
    made = json.loads(reply.from_window(parsed, found, ranked, 1))
    assert [each["_source"] for each in made["hits"]["hits"]] == sources
