"""The JSON document of an endpoint, which a file and an index hold alike.

All of it can be read by those who may read the registry, but for `secrets`, which is encrypted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from rerank_proxy.inference.configuration import RERANK, EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.registry.key_ring import AlteredError, KeyRing, UnknownKeyError, used_key
from rerank_proxy.inference.store import StoredEndpoint
from rerank_proxy.xcontent.plain_json import is_deeper

_FORMAT: Final = 1
NO_ENDPOINT: Final = 0
"""The format of a document that is not an endpoint's."""
MAX_BYTES: Final = 2**20
"""The largest document: one that is larger is not an endpoint, and would be read again and again."""
MAX_DEPTH: Final = 100
"""The most levels of settings: what compares and prints them is recursive."""
_MAX_SHOWN: Final = 100
_OPEN_FIELDS: Final = ("inference_id", "service", "service_settings", "task_settings", "internal")

MAPPINGS: Final[Mapping[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "format": {"type": "byte"},
        "inference_id": {"type": "keyword"},
        "task_type": {"type": "keyword"},
        "service": {"type": "keyword"},
        "service_settings": {"type": "object", "enabled": False},
        "task_settings": {"type": "object", "enabled": False},
        "internal": {"type": "object", "enabled": False},
        "secrets": {"type": "keyword", "index": False, "doc_values": False},
    },
}
"""The mappings of an index of such documents. Settings, which services define, are stored and not indexed."""


class _Sealed(msgspec.Struct):
    secrets: Any = None


class DamagedError(Exception):
    """A document is not one that this module has written. The message tells people what is wrong."""


def to_document(config: EndpointConfig, keys: KeyRing | None) -> msgspec.Raw:
    """Return the JSON object of an endpoint.

    Args:
        keys: Needed for an endpoint that has secrets.

    Raises:
        InferenceFailedError: 400, it is larger or deeper than what `from_document` takes.
    """
    if _is_too_deep(config):
        raise _unfit(config, f"its settings are nested more than {MAX_DEPTH} deep")
    document: dict[str, Any] = {
        "format": _FORMAT,
        "task_type": RERANK,
        **{name: getattr(config, name) for name in _OPEN_FIELDS},
    }
    if config.secrets:
        assert keys is not None, "an endpoint with secrets is not written without a key"
        document["secrets"] = keys.encrypt(msgspec.json.encode(config.secrets), _open_part(config))
    encoded = msgspec.json.encode(document)
    if len(encoded) > MAX_BYTES:
        raise _unfit(config, f"it takes {len(encoded)} bytes, more than {MAX_BYTES}")
    return msgspec.Raw(encoded)


def key_of(document: bytes) -> str | None:
    """Return the id of the key that the secrets of a document's JSON need; None when it has none."""
    try:
        secrets = msgspec.json.decode(document, type=_Sealed).secrets
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return used_key(secrets) if isinstance(secrets, str) else None


def decode(document: bytes | DamagedError) -> Any:
    """Read a document's JSON.

    Raises:
        DamagedError: It cannot be read, or could not even be fetched.
    """
    if isinstance(document, DamagedError):
        raise DamagedError(str(document))
    if len(document) > MAX_BYTES:
        raise DamagedError(f"it takes {len(document)} bytes, more than {MAX_BYTES}")
    try:
        return msgspec.json.decode(document)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(str(error)) from None


def from_document(
    inference_id: str, document: Any, keys: KeyRing | None, version: Any = None
) -> StoredEndpoint:
    """Return the endpoint of a JSON object. One whose secrets cannot be decrypted fails when it is used.

    Args:
        inference_id: The id that the object is stored under.

    Raises:
        DamagedError: The object is not one of `to_document`.
    """
    if not isinstance(document, Mapping):
        raise DamagedError("it is not a JSON object")
    if type(document.get("format")) is not int or document["format"] != _FORMAT:
        raise DamagedError(f"its [format] is [{_brief(document.get('format'))}], not [{_FORMAT}]")
    for name in ("inference_id", "service"):
        if not isinstance(document.get(name), str):
            raise DamagedError(f"its [{name}] is not a string")
    for name in ("service_settings", "task_settings", "internal"):
        if not isinstance(document.get(name), Mapping):
            raise DamagedError(f"its [{name}] is not an object")
    if document["inference_id"] != inference_id:
        raise DamagedError(f"it is that of [{_brief(document['inference_id'])}]")
    config = EndpointConfig(**{name: document[name] for name in _OPEN_FIELDS})
    if _is_too_deep(config):
        raise _too_deep()
    token = document.get("secrets")
    if token is None:
        return StoredEndpoint(config, version)
    if not isinstance(token, str):
        raise DamagedError("its [secrets] is not a string")
    try:
        return StoredEndpoint(replace(config, secrets=_decrypt(config, token, keys)), version)
    except InferenceFailedError as failure:
        return StoredEndpoint(config, version, failure)


def _decrypt(config: EndpointConfig, token: str, keys: KeyRing | None) -> dict[str, Any]:
    where = f"The secrets of inference endpoint [{config.inference_id}] cannot be decrypted:"
    remedy = "or change the endpoint with new ones, or delete it"
    if keys is None:
        raise status_error(
            400,
            f"{where} they were encrypted with the key of id [{used_key(token)}], and this proxy has no "
            "registry.key; give it the one it had, or delete the endpoint",
        )
    try:
        return msgspec.json.decode(keys.decrypt(token, _open_part(config)), type=dict[str, Any])
    except UnknownKeyError as error:
        raise status_error(
            400,
            f"{where} they were encrypted with the key of id [{error}], which is not among those of this "
            f"proxy; give it that registry.key, {remedy}",
        ) from None
    except (AlteredError, msgspec.DecodeError):
        raise status_error(
            400,
            f"{where} they, or the settings they belong to, were altered outside the proxy; restore them, "
            f"{remedy}",
        ) from None


def _is_too_deep(config: EndpointConfig) -> bool:
    settings = [config.service_settings, config.task_settings, config.internal, config.secrets]
    return is_deeper(settings, MAX_DEPTH + 1)  # one more for the list itself


def _too_deep() -> DamagedError:
    return DamagedError(f"its settings are nested more than {MAX_DEPTH} deep")


def _unfit(config: EndpointConfig, problem: str) -> InferenceFailedError:
    return status_error(400, f"Inference endpoint [{config.inference_id}] cannot be kept: {problem}")


def _brief(value: Any) -> str:
    """Return what a message shows of a value of any type."""
    return str(value)[:_MAX_SHOWN] if isinstance(value, str | int | float | None) else type(value).__name__


def _open_part(config: EndpointConfig) -> bytes:
    """Return the settings that secrets belong to, encoded alike whatever the order of their keys."""
    return msgspec.json.encode([getattr(config, name) for name in _OPEN_FIELDS], order="sorted")
