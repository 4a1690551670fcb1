"""YAML is read and written as Elasticsearch 9.5.0 was seen to do it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.app.formats.yaml_body import read, write
from rerank_proxy.errors import ElasticsearchError


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("size: 0", '{"size":0}'),
        (
            "---\nquery:\n  match:\n    text: crime\nsize: 5\n...\n",
            '{"query":{"match":{"text":"crime"}},"size":5}',
        ),
        ('{"a": [1, "x", {b: c}], d: }', '{"a":[1,"x",{"b":"c"}],"d":null}'),
        ("a:\n- - 1\n  - 2\n- []\n- {}\n", '{"a":[[1,2],[],{}]}'),
        (
            "1: x\ntrue: y\n~: z\n'': e\n0x10: h\n1.10: f\n",
            '{"1":"x","true":"y","~":"z","":"e","0x10":"h","1.10":"f"}',
        ),
        ("a: |\n  one\n  two\nb: >\n  one\n  two\n", '{"a":"one\\ntwo\\n","b":"one two\\n"}'),
        ("a: &x 12\nb: *x\nc: *nope", '{"a":12,"b":"x","c":"nope"}'),
        ("a: {<<: 1}\nb: !!set {x}", '{"a":{"<<":1},"b":{"x":null}}'),
        ("a: 1\na: 2", '{"a":1,"a":2}'),
        ('a: "\\x41\\u00e9\\U0001F600"', '{"a":"Aé\U0001f600"}'),
        ("- 1", "[1]"),
        ("x", '"x"'),
        ("", ""),
        ("# only a comment", ""),
    ],
)
def test_reading(body: str, expected: str) -> None:
    assert read(body.encode()).decode() == expected


def test_aliases_cannot_make_a_small_body_large() -> None:
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(20)
    )
    assert len(read(bomb.encode())) < 2 * len(bomb)


def cause_types(error: dict[str, Any]) -> list[str]:
    return [error["type"], *cause_types(error["caused_by"])] if "caused_by" in error else [error["type"]]


@pytest.mark.parametrize(
    ("body", "types", "said"),
    [
        (b"a: 'b", ["marked_y_a_m_l_exception", "scanner_exception"], "while scanning a quoted scalar"),
        (b"a: @x", ["marked_y_a_m_l_exception", "scanner_exception"], "cannot start any token"),
        (b"a: [1", ["marked_y_a_m_l_exception", "parser_exception"], "while parsing a flow sequence"),
        (b"a: \x01", ["jackson_y_a_m_l_parse_exception", "reader_exception"], "not allowed"),
        (b"a: \xff", ["jackson_y_a_m_l_parse_exception", "reader_exception"], ""),
        (b"[a]: 1", ["json_parse_exception"], "Expected a field name"),
        (b"*x : 1", ["json_parse_exception"], "Expected a field name"),
    ],
)
def test_malformed(body: bytes, types: list[str], said: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        read(body)
    answer = raised.value.body()
    assert answer["status"] == 400
    assert cause_types(answer["error"]) == ["x_content_parse_exception", *types]
    assert re.match(r"\[\d+:\d+\] ", answer["error"]["reason"])
    assert said in answer["error"]["reason"]


def test_a_second_document_is_refused() -> None:
    with pytest.raises(ElasticsearchError, match="found after the main object") as raised:
        read(b"a: 1\n---\nb: 2")
    assert raised.value.body()["error"]["type"] == "parsing_exception"


ANSWER = rb"""{"took":9,"timed_out":false,"hits":{"max_score":1.0,"hits":[{"_id":"1","_source":{
"nl":"a\nb","quote":"say \"x\" 'y'","uni":"\u00e9\u20ac","emoji":"\ud83d\ude00","lone":"\ud800",
"ctl":"\u0001\u0007\u001b\u007f\u0085\u00a0\u2028\uffff",
"neg":-0,"big":123456789012345678901234567890,"d":1.10,"e":1E5,"e2":1e-7,"inf":1e400,"dz":-0.0,"eo":{},"ea":[],
"nested":{"y":[1,[2,[],{}],{"k":"v","z":[{"a":null}]}]},
"names":{"yes":1,"123":1,"with space":1,"a: b":1,"a #b":1,"'a":1,"":1,"a\nb":{"c":[1]},"a\tb":1}}}]}}"""

WRITTEN = """\
---
took: 9
timed_out: false
hits:
  max_score: 1.0
  hits:
  - _id: "1"
    _source:
      nl: "a\\nb"
      quote: "say \\"x\\" 'y'"
      uni: "é€"
      emoji: "\U0001f600"
      lone: "\\ud800"
      ctl: "\\x01\\a\\e\\x7f\\N\\_\\L\\uffff"
      neg: 0
      big: 123456789012345678901234567890
      d: 1.1
      e: 100000.0
      e2: 1.0E-7
      inf: Infinity
      dz: -0.0
      eo: {}
      ea: []
      nested:
        "y":
        - 1
        - - 2
          - []
          - {}
        - k: "v"
          z:
          - a: null
      names:
        "yes": 1
        "123": 1
        with space: 1
        'a: b': 1
        'a #b': 1
        '''a': 1
        ? ""
        : 1
        ? "a\\nb"
        : c:
          - 1
        "a\\tb": 1
"""


def test_writing() -> None:
    assert write(ANSWER).decode() == WRITTEN


def test_nothing_is_left() -> None:
    assert write(b"{}") == b"--- {}\n"


TEXT = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et"
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TEXT, ['k: "' + TEXT[:78] + "\\", "  \\" + TEXT[78:] + '"']),
        ("a" * 140 + " b", ['k: "' + "a" * 140 + "\\", '  \\ b"']),
        ("a" * 140 + " ", ['k: "' + "a" * 140 + ' "']),
        ("a" * 140, ['k: "' + "a" * 140 + '"']),
        ("é" * 100, ['k: "' + "é" * 78 + "\\", "  " + "é" * 22 + '"']),
        ("a" * 75 + "\n" + "a" * 10, ['k: "' + "a" * 75 + "\\n\\", "  " + "a" * 10 + '"']),
        ("a" * 74 + "\n" + "a" * 10, ['k: "' + "a" * 74 + "\\n" + "a" * 10 + '"']),
    ],
)
def test_long_lines(text: str, lines: list[str]) -> None:
    written = write(json.dumps({"k": text}).encode()).decode()
    assert written.splitlines() == ["---", *lines]
    assert json.loads(read(written.encode())) == {"k": text}


plain_text = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufeff\x85\u2028\u2029\x00"), max_size=100
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain_text | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(plain_text, values, max_size=4))
def test_what_is_written_can_be_read(value: dict[str, Any]) -> None:
    assert json.loads(read(write(json.dumps(value).encode()))) == value
