"""Endpoints are written and read again. Without the key, secrets can be neither read nor moved to another
endpoint."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.registry.documents import MAPPINGS, DamagedError, from_document
from rerank_proxy.inference.registry.key_ring import KeyRing
from tests.support.stores import document_of, endpoint

RING, OTHER = KeyRing([b"k" * 32]), KeyRing([b"o" * 32])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
CONFIGS = st.builds(EndpointConfig, TEXT, TEXT, OBJECTS, OBJECTS, OBJECTS, OBJECTS)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def stored(document: Any) -> Any:
    """Return a document as it may be read, with its members in another order."""
    return json.loads(json.dumps(document, sort_keys=True))


@given(CONFIGS)
def test_what_is_written_is_read(config: EndpointConfig) -> None:
    found = from_document(config.inference_id, stored(document_of(config, RING)), RING, 7)
    assert (found.config, found.version, found.failure) == (config, 7, None)


@given(CONFIGS)
def test_only_fields_of_the_mapping_are_written(config: EndpointConfig) -> None:
    assert document_of(config, RING).keys() <= MAPPINGS["properties"].keys()


def test_secrets_cannot_be_read() -> None:
    document = document_of(endpoint("mine", api_key="sesame"), RING)
    assert "sesame" not in json.dumps(document)
    assert "api_key" not in json.dumps(document)


def test_an_endpoint_without_secrets_needs_no_key() -> None:
    config = endpoint("mine")
    assert from_document("mine", document_of(config, None), None).config == config


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"x": "y" * 2**20}, r"it takes 1\d{6} bytes, more than 1048576"),
        (nested(101), "its settings are nested more than 100 deep"),
        (nested(100_000), "its settings are nested more than 100 deep"),
    ],
)
@pytest.mark.parametrize("where", ["service_settings", "task_settings", "secrets"])
def test_what_would_not_be_read_again_is_not_written(
    settings: dict[str, Any], problem: str, where: str
) -> None:
    with pytest.raises(InferenceFailedError, match=problem) as raised:
        document_of(replace(endpoint("mine"), **cast("Any", {where: settings})), RING)
    assert raised.value.status == 400
    assert raised.value.cause.reason.startswith("Inference endpoint [mine] cannot be kept: ")


def failure(document: Any, ring: KeyRing | None) -> InferenceFailedError:
    found = from_document("mine", document, ring)
    assert found.config.secrets == {}
    assert found.failure is not None
    assert found.failure.status == 400
    assert found.failure.cause.reason.startswith(
        "The secrets of inference endpoint [mine] cannot be decrypted: "
    )
    return found.failure


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        (None, "this proxy has no registry.key; give it the one it had"),
        (OTHER, "they were encrypted with the key of id ["),
    ],
)
def test_secrets_of_another_key(ring: KeyRing | None, reason: str) -> None:
    assert reason in failure(document_of(endpoint("mine", api_key="sesame"), RING), ring).cause.reason


@given(CONFIGS, st.sampled_from(["service", "service_settings", "task_settings", "internal"]), st.data())
def test_secrets_are_of_no_use_with_other_settings(
    config: EndpointConfig, name: str, data: st.DataObject
) -> None:
    """Those who can write to the registry must not be able to have an API key sent to another address."""
    config = replace(config, inference_id="mine", secrets={"api_key": "sesame"})
    document = document_of(config, RING)
    other = data.draw(TEXT if name == "service" else OBJECTS)
    if json.dumps(other, sort_keys=True) == json.dumps(document[name], sort_keys=True):
        return
    assert "were altered outside the proxy" in failure({**document, name: other}, RING).cause.reason


def test_secrets_do_not_work_for_another_endpoint() -> None:
    mine = document_of(endpoint("mine"), RING)
    others = document_of(endpoint("others", api_key="sesame"), RING)
    assert "were altered" in failure({**mine, "secrets": others["secrets"]}, RING).cause.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"its \[format\] is \[2\], not \[1\]"),
        ({"format": None}, r"its \[format\] is \[None\], not \[1\]"),
        ({"service": 5}, r"its \[service\] is not a string"),
        ({"inference_id": None}, r"its \[inference_id\] is not a string"),
        ({"inference_id": "b"}, r"it is that of \[b\]"),
        ({"service_settings": []}, r"its \[service_settings\] is not an object"),
        ({"internal": None}, r"its \[internal\] is not an object"),
        ({"secrets": {}}, r"its \[secrets\] is not a string"),
    ],
)
def test_damaged_documents(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DamagedError, match=message):
        from_document("a", {**document_of(endpoint("a"), None), **change}, RING)


@given(JSON)
def test_anything_else_is_damaged(document: Any) -> None:
    with pytest.raises(DamagedError):
        from_document("a", document, RING)
