"""The bodies of the `_inference` API, read as Elasticsearch 9.5 reads them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rerank_proxy.errors import Cause, ElasticsearchError, error, validation_error
from rerank_proxy.inference.configuration import RERANK, TASK_TYPES
from rerank_proxy.inference.failures import status_error
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.service_settings import SERVICE_SETTINGS, TASK_SETTINGS, shown
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.java_values import class_name, read
from rerank_proxy.xcontent.object_parser import (
    BOOL,
    INT,
    STR,
    Field,
    illegal_argument,
    one_or_each,
    parse_object,
    x_content_error,
)
from rerank_proxy.xcontent.source import ARRAY, OBJECT, STRING, Node, parse

ANY: Final = "any"
"""The task type of a request that does not name one."""

_MAX_DOCUMENT_ID: Final = 512
_VALID_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9_\-.]*[a-z0-9])?")


def is_valid_id(inference_id: str) -> bool:
    """Return whether an id may be that of a new or a changed endpoint (``MlStrings#isValidId``)."""
    return inference_id != "_all" and _VALID_ID.fullmatch(inference_id) is not None


def check_id(inference_id: str) -> None:
    """Refuse an id that is not valid.

    Raises:
        ElasticsearchError: 400.
    """
    if not is_valid_id(inference_id):
        raise validation_error(
            [
                f"Invalid inference_id; '{inference_id}' can contain lowercase alphanumeric (a-z and 0-9), "
                "hyphens or underscores; must start and end with alphanumeric"
            ]
        )
    # What Elasticsearch keeps an endpoint under (``Model#documentId``).
    document_id = f"model_{inference_id}"
    if len(document_id) > _MAX_DOCUMENT_ID:
        raise validation_error(
            [
                f"id [{document_id}] is too long, must be no longer than {_MAX_DOCUMENT_ID} bytes but was: "
                f"{len(document_id)}"
            ]
        )


def task_type_of(name: str) -> str:
    """Return the task type of this name (``TaskType#fromStringOrStatusException``).

    Raises:
        InferenceFailedError: 400.
    """
    task_type = name.strip().lower()
    if task_type != ANY and task_type not in TASK_TYPES:
        raise status_error(400, f"Unknown task_type [{name}]")
    return task_type


def resolve_task_type(url: str, body: str | None) -> str:
    """Return the task type that URL and body give together (``ServiceUtils#resolveTaskType``).

    Raises:
        InferenceFailedError: 400.
    """
    if body is None:
        if url == ANY:
            raise status_error(400, "model is missing required setting [task_type]")
        return url
    resolved = task_type_of(body)
    if resolved == ANY:
        raise status_error(400, "task_type [any] is not valid type for inference")
    if url not in (ANY, resolved):
        raise status_error(
            400,
            f"Cannot resolve conflicting task_type parameter in the request URL [{url}] and the request body "
            f"[{body}]",
        )
    return resolved


def required(body: bytes) -> bytes:
    """Return the body (``RestRequest#requiredContent``).

    Raises:
        ElasticsearchError: 400, it is empty.
    """
    if not body:
        raise error(400, "parse_exception", "request body is required")
    return body


@dataclass(frozen=True, slots=True)
class PutRequest:
    """A `PUT _inference/{task_type}/{inference_id}`, with its task type resolved.

    `unknown` are the members that nothing reads, which services of this proxy refuse.
    """

    task_type: str
    service: str
    service_settings: Mapping[str, Any] | None
    task_settings: Mapping[str, Any]
    unknown: Mapping[str, Any]


def parse_put(body: bytes, task_type: str) -> PutRequest:
    """Read the body of a new endpoint.

    Args:
        task_type: Of the URL.

    Raises:
        ElasticsearchError: 400, as ``TransportPutInferenceModelAction`` words it.
    """
    values = _map(parse(required(body)))
    resolved = resolve_task_type(task_type, _string(values, "task_type"))
    service = _string(values, "service")
    if service is None:
        raise status_error(400, "Inference endpoint configuration is missing the [service] setting")
    service_settings = _object(values, SERVICE_SETTINGS)
    task_settings = _object(values, TASK_SETTINGS) or {}
    return PutRequest(resolved, service, service_settings, task_settings, values)


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """A `PUT _inference/{task_type}/{inference_id}/_update`.

    The task type is `any` where neither URL nor body names one.
    """

    task_type: str
    service_settings: Mapping[str, Any]
    task_settings: Mapping[str, Any]


def parse_update(body: bytes, task_type: str) -> UpdateRequest:
    """Read the body of a change. A `service`, which clients copy from the endpoint, is ignored.

    Args:
        task_type: Of the URL.

    Raises:
        ElasticsearchError: 400, as ``UpdateInferenceModelAction`` words it.
    """
    values = _map(parse(required(body)))
    if not values:
        raise status_error(400, "Request body is empty")
    in_body = values.get("task_type")
    if in_body is not None:
        if not isinstance(in_body, str):
            raise status_error(400, f"Failed to parse [task_type] in update request [{shown(values)}]")
        task_type_of(in_body)
        del values["task_type"]
    settings = {name: _settings(values, name) for name in (SERVICE_SETTINGS, TASK_SETTINGS)}
    for name in ("service", "task_type"):
        values.pop(name, None)
    if values:
        raise status_error(
            400,
            "Request contained fields which cannot be updated, remove these fields and try again "
            f"[{shown(values)}]",
        )
    # Elasticsearch requires a task type in one of them; here the endpoint's id tells it as well.
    resolved = ANY if in_body is None and task_type == ANY else resolve_task_type(task_type, in_body)
    return UpdateRequest(resolved, settings[SERVICE_SETTINGS], settings[TASK_SETTINGS])


def _settings(values: dict[str, Any], name: str) -> Mapping[str, Any]:
    settings: Mapping[str, Any] | None = values.get(name)
    if name in values and not isinstance(settings, dict):
        what = name.replace("_", " ")
        raise status_error(400, f"Unable to parse {what} in the request [{shown(values)}]")
    values.pop(name, None)
    return settings or {}


def parse_rerank(body: bytes) -> RerankRequest:
    """Read the body of a `POST _inference/rerank/{inference_id}`.

    Raises:
        ElasticsearchError: 400, as ``RerankRequest`` and ``RerankAction.Request#validate`` word it.
    """
    values = parse_object(parse(required(body)), "RerankRequest", _RERANK)
    inputs, query = values["input"], values["query"]
    messages = []
    if not inputs:
        messages.append("Field [input] cannot be an empty array")
    if not query:
        messages.append("Field [query] cannot be empty")
    top_n = values.get("top_n")
    if top_n is not None and top_n < 1:
        messages.append("Field [top_n] must be greater than or equal to 1")
    if messages:
        raise validation_error(messages)
    return RerankRequest(query, inputs, top_n, values.get("return_documents"), values.get(TASK_SETTINGS, {}))


def _to_inputs(node: Node) -> tuple[str, ...]:
    if node.kind == ARRAY:
        try:
            return msgspec.json.decode(node.raw, type=tuple[str, ...])
        except (msgspec.MsgspecError, RecursionError):
            pass  # not all of them are strings that msgspec reads
    return tuple(_to_text(each, "input") for each in one_or_each(node))


def _to_query(node: Node) -> str:
    return _to_text(node, "query")


def _to_text(node: Node, name: str) -> str:
    """Return a string, or that of an object which holds one (``InferenceString``). Images are refused."""
    if node.kind == STRING:
        text: str = node.scalar()
        return text
    if node.kind != OBJECT:
        raise ParseError(Cause("x_content_parse_exception", f"Unsupported token [{node.kind}]"), node.start)
    values = parse_object(node, "InferenceString", _INFERENCE_STRING, _data_problem)
    if (type_ := values["type"]) != "text":
        reason = f"Field [{name}] contains unsupported [type] value [{type_}]. Supported values are [text]"
        raise ParseError(Cause("x_content_parse_exception", reason), node.last_token())
    value: str = values["value"]
    return value


def _data_problem(values: Mapping[str, Any]) -> str | None:
    """Refuse text in base64, and everything else in another form (``DataType``)."""
    supported = "text" if values["type"] == "text" else "base64"
    format_ = values.get("format", supported)
    if format_ == supported:
        return None
    return (
        f"Data type [{values['type']}] does not support data format [{format_}], supported formats are "
        f"[{supported}]"
    )


def _one_of(what: str, *known: str) -> Callable[[Node], str]:
    """Return a reader of an enumeration's names (``fromString``)."""

    def convert(node: Node) -> str:
        value: str = node.scalar()
        if (name := value.strip().lower()) not in known:
            raise illegal_argument(f"Unrecognized {what} [{value}], must be one of [{', '.join(known)}]")
        return name

    return convert


_INFERENCE_STRING: Final[Mapping[str, Field]] = {
    "type": Field(
        frozenset({STRING}), _one_of("type", "text", "image", "audio", "video", "pdf"), required=True
    ),
    "format": Field(frozenset({STRING}), _one_of("format", "text", "base64")),
    "value": Field(frozenset({STRING}), STR.convert, required=True),
}
_RERANK: Final[Mapping[str, Field]] = {
    "input": Field(frozenset({STRING, OBJECT, ARRAY}), _to_inputs, required=True),
    "query": Field(frozenset({STRING, OBJECT}), _to_query, required=True),
    "top_n": INT,
    "return_documents": BOOL,
    TASK_SETTINGS: Field(frozenset({OBJECT}), lambda node: _map(node)),
}


def _map(node: Node) -> dict[str, Any]:
    """Return the members of an object, such as settings (``XContentParser#map``)."""
    if node.kind != OBJECT:
        reason = f"Failed to parse object: expecting token of type [{OBJECT}] but found [{node.kind}]"
        raise x_content_error(node, node.start, reason)
    values: dict[str, Any] = read(node)
    return values


def _string(values: dict[str, Any], name: str) -> str | None:
    value = values.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise _cast(name, value, "String")
    return value


def _object(values: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = values.pop(name, None)
    if value is not None and not isinstance(value, dict):
        raise _cast(name, value, "Map")
    return value


def _cast(name: str, value: Any, wanted: str) -> ElasticsearchError:
    """Return a refusal that names the key, where Elasticsearch has a ``ClassCastException`` or a 500."""
    type_ = class_name(value).rpartition(".")[2]
    reason = f"field [{name}] is not of the expected type. A [{type_}] cannot be converted to a [{wanted}]"
    return status_error(400, reason)


def check_task_type(task_type: str) -> None:
    """Refuse to call an endpoint of this proxy by another task type than `rerank`.

    Raises:
        InferenceFailedError: 400.
    """
    if task_type not in (ANY, RERANK):
        raise status_error(
            400,
            f"Incompatible task_type, the requested type [{task_type}] does not match the model type "
            f"[{RERANK}]",
        )
