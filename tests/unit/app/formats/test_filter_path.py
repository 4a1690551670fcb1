"""`filter_path` keeps what Elasticsearch 9.5.0 was seen to keep."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.app.formats.filter_path import filtered
from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.splicing import Printer

SOURCE = (
    '{"a":1.10,"b":{"c":1,"d":{"e":"x","c":2},"é":3},"a.b":{"c.d":5},'
    '"x":[{"a":1,"b":2},{"b":3},[],{},[{"a":9}],7,"s"],"eo":{},"ea":[],"n":null,"f":[1,2],"st*r":4,"-m":6,'
    '"sp ace":2,"deep":{"a":{"a":{"a":1,"b":2}}},"onlyx":{"x":{}},"z":[{"q":1}],"":5,".d":1,"d.":2,"d..e":3}'
)
BODY = (
    '{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
    '"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,'
    f'"hits":[{{"_index":"fp","_id":"1","_score":1.0,"_source":{SOURCE}}}]}}}}'
)


def of_source(paths: str) -> str:
    """What is left of the source."""
    kept = filtered(BODY.encode(), paths).decode()
    if kept == "{}":
        return ""
    before, after = '{"hits":{"hits":[{"_source":', "}]}}"
    assert kept.startswith(before)
    assert kept.endswith(after)
    return kept[len(before) : -len(after)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("took", '{"took":1}'),
        ("hits.hits._id,took", '{"took":1,"hits":{"hits":[{"_id":"1"}]}}'),
        (" took , hits.total ", '{"took":1,"hits":{"total":{"value":1,"relation":"eq"}}}'),
        (",,took,", '{"took":1}'),
        ("hits.total.*", '{"hits":{"total":{"value":1,"relation":"eq"}}}'),
        ("_shards.f*,_shards.*l", '{"_shards":{"total":1,"successful":1,"failed":0}}'),
        ("h*s.h**s._id", '{"hits":{"hits":[{"_id":"1"}]}}'),
        ("t**k", '{"took":1}'),
        ("**._id", '{"hits":{"hits":[{"_id":"1"}]}}'),
        ("nope", "{}"),
        ("took.x", "{}"),
        ("**.took", "{}"),
        ("hits..total", "{}"),
        (".hits", "{}"),
        ("hits.", "{}"),
        ("-hits", '{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0}}'),
        ("-*.*", '{"took":1,"timed_out":false}'),
        ("-**", "{}"),
        ("took,-took", "{}"),
        ("hits,-hits.hits", '{"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0}}'),
    ],
)
def test_the_answer(paths: str, expected: str) -> None:
    assert filtered(BODY.encode(), paths).decode() == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hits.hits._source", SOURCE),
        ("hits.hits._source.**", SOURCE),
        ("hits.hits._source.*", SOURCE),
        ("hits.hits._source.a", '{"a":1.10}'),
        ("hits.hits._source.a*", '{"a":1.10,"a.b":{"c.d":5}}'),
        ("hits.hits._source.*.c", '{"b":{"c":1}}'),
        ("hits.hits._source.**.c", '{"b":{"c":1,"d":{"c":2}}}'),
        ("**.c", '{"b":{"c":1,"d":{"c":2}}}'),
        ("hits.**.**.c", '{"b":{"c":1,"d":{"c":2}}}'),
        ("hits.hits._source.b.**.c", '{"b":{"d":{"c":2}}}'),
        ("hits.hits._source.b.d,hits.hits._source.b.d.e", '{"b":{"d":{"e":"x","c":2}}}'),
        ("hits.hits._source.b.d.e,hits.hits._source.b.d", '{"b":{"d":{"e":"x","c":2}}}'),
        ("hits.hits._source.deep.**.b", '{"deep":{"a":{"a":{"b":2}}}}'),
        ("hits.hits._source.a.b", ""),
        (r"hits.hits._source.a\.b", '{"a.b":{"c.d":5}}'),
        (r"hits.hits._source.a\.b.c\.d", '{"a.b":{"c.d":5}}'),
        (r"hits.hits._source.d\.\.e", '{"d..e":3}'),
        (r"hits.hits._source.d\.", '{"d.":2}'),
        ("hits.hits._source..d", '{".d":1}'),
        ("hits.hits._source.", '{"":5}'),
        ("hits.hits._source.x.a", '{"x":[{"a":1},[{"a":9}]]}'),
        ("hits.hits._source.x.*", '{"x":[{"a":1,"b":2},{"b":3},[{"a":9}]]}'),
        ("hits.hits._source.x.zz", ""),
        ("hits.hits._source.eo", '{"eo":{}}'),
        ("hits.hits._source.eo.a", ""),
        ("hits.hits._source.ea", '{"ea":[]}'),
        ("hits.hits._source.n", '{"n":null}'),
        ("hits.hits._source.f.a", ""),
        ("hits.hits._source.st*r", '{"st*r":4}'),
        ("hits.hits._source.st?r", ""),
        ("hits.hits._source.-m", '{"-m":6}'),
        ("hits.hits._source.sp ace", '{"sp ace":2}'),
        ("hits.hits._source.b.é", '{"b":{"é":3}}'),
        ("hits.hits._source.b,-**.c", '{"b":{"d":{"e":"x"},"é":3}}'),
        ("hits.hits._source.x,-hits.hits._source.x.a", '{"x":[{"b":2},{"b":3},[],{},7,"s"]}'),
        ("hits.hits._source.x,-hits.hits._source.x.*", '{"x":[[],{},7,"s"]}'),
        ("hits.hits._source.f,-hits.hits._source.f.a", '{"f":[1,2]}'),
        ("hits.hits._source.eo,-hits.hits._source.eo.a", '{"eo":{}}'),
        ("hits.hits._source.z,-hits.hits._source.z.q", ""),
        ("hits.hits._source.onlyx,-hits.hits._source.onlyx.x", ""),
    ],
)
def test_the_source(path: str, expected: str) -> None:
    assert of_source(path) == expected


@pytest.mark.parametrize("paths", ["", ",", " , ", "-", "*", "**", "-nope", "--took", "-took.x"])
def test_what_removes_nothing_changes_nothing(paths: str) -> None:
    assert filtered(BODY.encode(), paths) == BODY.encode()
    assert filtered(PRETTY, paths) == PRETTY


PRETTY = pretty_print(BODY.encode()) + b"\n"


@pytest.mark.parametrize(
    "paths", ["took", "hits.hits._source.x.a", "-hits.hits._source.x.a", "nope", "nope,-nope"]
)
def test_pretty_stays_pretty(paths: str) -> None:
    assert filtered(PRETTY, paths) == pretty_print(filtered(BODY.encode(), paths)) + b"\n"


def test_strings_and_numbers_keep_their_spelling() -> None:
    body = rb'{"a":{"n":1e400,"s":"\ud800\/","m":{"k":-0,"l":123456789012345678901234567890}},"b":1}'
    assert filtered(body, "a.n,a.s,a.m.l") == (
        rb'{"a":{"n":1e400,"s":"\ud800\/","m":{"l":123456789012345678901234567890}}}'
    )


def test_deep_nesting() -> None:
    depth = 900
    body = b'{"a":' * depth + b'{"b":1,"c":2}' + b"}" * depth
    assert filtered(body, "**.b") == body.replace(b',"c":2', b"")
    assert filtered(body, "-**.b") == body.replace(b'"b":1,', b"")


def test_many_stars_take_no_time() -> None:
    """A backtracking matcher would not end."""
    body = b'{"%s":1}' % (b"a" * 5000)
    assert filtered(body, "*a" * 40 + "*b") == b"{}"


names = st.sampled_from(["a", "b", "ab", "a.b", "c"])
values = st.recursive(
    st.none() | st.integers(0, 9) | st.just("s"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(names, values, max_size=5)
steps = st.sampled_from(["a", "b", "*", "**", "a*", "*b", r"a\.b"])
paths_ = st.lists(steps, min_size=1, max_size=4).map(".".join)


def printed(value: Any) -> bytes:
    return Printer(False).value(value)


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Scalars and empty collections, with the names on the way."""
    if isinstance(value, dict) and value:
        return [leaf for name, item in value.items() for leaf in leaves(item, (*path, name))]
    if isinstance(value, list) and value:
        return [leaf for item in value for leaf in leaves(item, path)]
    return [(path, value)]


@given(objects, paths_)
def test_each_scalar_is_either_kept_or_left_out(value: dict[str, Any], path: str) -> None:
    """Of the same paths, inclusion and exclusion share out all scalars between them."""

    def scalars(value: Any) -> list[tuple[tuple[str, ...], Any]]:
        return [leaf for leaf in leaves(value) if leaf[1] not in ({}, [])]

    kept, others = (json.loads(filtered(printed(value), sign + path)) for sign in ("", "-"))
    assert sorted(scalars(kept) + scalars(others), key=repr) == sorted(scalars(value), key=repr)


@given(objects, paths_)
def test_filtering_again_changes_nothing(value: dict[str, Any], path: str) -> None:
    for sign in ("", "-"):
        once = filtered(printed(value), sign + path)
        assert filtered(once, sign + path) == once


@given(objects, st.lists(paths_, min_size=1, max_size=3))
def test_layout_and_order_of_paths_do_not_matter(value: dict[str, Any], paths: list[str]) -> None:
    compact = filtered(printed(value), ",".join(paths))
    assert filtered(printed(value), ",".join(reversed(paths))) == compact
    if value:
        assert (
            filtered(pretty_print(printed(value)) + b"\n", ",".join(paths)) == pretty_print(compact) + b"\n"
        )
