"""Bodies go to their format's reader and writer; Smile is refused."""

import json

import pytest

from rerank_proxy.app.formats.bodies import from_json, refuse_smile, to_json
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.media_types import Format, format_of

VENDOR = "application/vnd.elasticsearch+"


@pytest.mark.parametrize(
    "content_type",
    ["application/yaml", " Application/YAML; charset=utf-8", VENDOR + "yaml;compatible-with=9"],
)
def test_yaml(content_type: str) -> None:
    assert to_json(b"size: 0", format_of(content_type)) == b'{"size":0}'


@pytest.mark.parametrize("content_type", ["application/cbor", VENDOR + "cbor; compatible-with=8"])
def test_cbor(content_type: str) -> None:
    assert to_json(b"\xa1\x64size\x00", format_of(content_type)) == b'{"size":0}'
    assert to_json(b"", format_of(content_type)) == b""


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        VENDOR + "json;compatible-with=9",
        "application/x-ndjson",
        "text/yaml",
        "garbage",
        "",
        "application/yaml, */*",
    ],
)
def test_all_else_is_untouched(content_type: str | None) -> None:
    for body in (b"size: 0", b'{"a" : 1.10 /* x */}', b"\xff"):
        assert to_json(body, None if content_type is None else format_of(content_type)) == body


def test_smile_is_refused() -> None:
    for refused in (
        lambda: to_json(b":)\n\x05", Format.SMILE),
        lambda: from_json(b"{}", Format.SMILE),
        lambda: refuse_smile(Format.SMILE),
    ):
        with pytest.raises(ElasticsearchError, match=r"\[application/smile\]") as raised:
            refused()
        assert raised.value.status == 400
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("format_", [Format.JSON, Format.YAML, Format.CBOR])
def test_no_other_is(format_: Format) -> None:
    refuse_smile(format_)


def test_answers() -> None:
    body = b'{\n  "took" : 1\n}\n'
    assert from_json(body, Format.JSON) is body
    assert from_json(body, Format.YAML) == b"---\ntook: 1\n"
    assert from_json(body, Format.CBOR) == b"\xbf\x64took\x01\xff"


@pytest.mark.parametrize("format_", [Format.YAML, Format.CBOR])
def test_endless_nesting_is_refused(format_: Format) -> None:
    body = b'{"a":' * 5000 + b"1" + b"}" * 5000
    with pytest.raises(ElasticsearchError, match="nested"):
        from_json(body, format_)


@pytest.mark.parametrize("format_", [Format.YAML, Format.CBOR])
def test_there_and_back(format_: Format) -> None:
    body = {"a": ["x", 1, 2.5, None, True, {"b": "é"}], "c": {}}
    written = from_json(json.dumps(body).encode(), format_)
    assert json.loads(to_json(written, format_)) == body
