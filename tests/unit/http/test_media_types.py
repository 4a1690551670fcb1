"""Media types are read by Elasticsearch's rules, probed on 9.5.0 and 8.19.21."""

import pytest

from rerank_proxy.http.media_types import Format, MediaType, MediaTypeError, for_json, header


@pytest.mark.parametrize(
    ("value", "name", "parameters"),
    [
        ("application/yaml", "application/yaml", {}),
        (" APPLICATION/YAML ", "application/yaml", {}),
        ("application / yaml", "application/yaml", {}),
        ("application/json ; charset=UTF-8", "application/json", {"charset": "utf-8"}),
        ("application/yaml;;a=1; a=2;", "application/yaml", {"a": "2"}),
        ("*/*;q=0.8", "*/*", {"q": "0.8"}),
    ],
)
def test_values_are_taken_apart(value: str, name: str, parameters: dict[str, str]) -> None:
    assert header([value]) == MediaType(name, parameters)


@pytest.mark.parametrize("values", [[], ["*/*"], ["application/yaml, application/json"], ["garbage,also"]])
def test_absent_lists_and_anything_are_nothing(values: list[str]) -> None:
    assert header(values) is None


@pytest.mark.parametrize(
    "values",
    [
        [""],
        [" "],
        ["garbage"],
        ["*"],
        ["a/b/c"],
        ["a b/c"],
        ["/yaml"],
        ["application/json;foo"],
        ["application/json;a="],
        ["application/json;a = b"],
        ["application/json;a=b=c"],
        ["application/json", "application/json"],
    ],
)
def test_malformed_values(values: list[str]) -> None:
    with pytest.raises(MediaTypeError):
        header(values)


@pytest.mark.parametrize(
    ("name", "format_", "vendor"),
    [
        ("application/json", Format.JSON, False),
        ("application/x-ndjson", Format.JSON, False),
        ("application/yaml", Format.YAML, False),
        ("application/cbor", Format.CBOR, False),
        ("application/smile", Format.SMILE, False),
        ("application/vnd.elasticsearch+json", Format.JSON, True),
        ("application/vnd.elasticsearch+x-ndjson", Format.JSON, True),
        ("application/vnd.elasticsearch+yaml", Format.YAML, True),
        ("application/x-yaml", None, False),
        ("text/yaml", None, False),
        ("text/plain", None, False),
        ("application/vnd.mapbox-vector-tile", None, False),
    ],
)
def test_formats(name: str, format_: Format | None, vendor: bool) -> None:
    media_type = MediaType(name, {})
    assert media_type.format is format_
    assert media_type.vendor is vendor


@pytest.mark.parametrize(
    ("sent", "inner"),
    [
        ("application/yaml", "application/json"),
        ("application/cbor; charset=utf-8", "application/json; charset=utf-8"),
        (
            "Application/vnd.elasticsearch+CBOR;compatible-with=9",
            "Application/vnd.elasticsearch+json;compatible-with=9",
        ),
        (
            "application/vnd.elasticsearch+smile ; compatible-with=8",
            "application/vnd.elasticsearch+json ; compatible-with=8",
        ),
    ],
)
def test_json_in_the_place_of_another_format(sent: str, inner: str) -> None:
    assert for_json(sent) == inner


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "*/*",
        "text/yaml",
        "application/yaml, application/json",
        "garbage",
        "",
        "application/x-yaml",
    ],
)
def test_all_other_values_go_along_as_they_are(value: str) -> None:
    assert for_json(value) == value
