"""The bodies of the requests that start, update and stop deployments.

Sources: ``StartTrainedModelDeploymentAction``, ``UpdateTrainedModelDeploymentAction``,
``StopTrainedModelDeploymentAction``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from rerank_proxy.errors import ElasticsearchError, error, illegal_argument, validation_error
from rerank_proxy.inference.local_models import NUMBER_AND_ADAPTIVE, threads_faults
from rerank_proxy.trained_models.deployment import UNSET, AdaptiveAllocations, Deployment
from rerank_proxy.trained_models.failures import bad_request
from rerank_proxy.xcontent.byte_size import ByteSize, parse_byte_size
from rerank_proxy.xcontent.object_parser import BOOL, INT, STR, Field, parse_object, to_int
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import NULL, NUMBER, OBJECT, STRING, Node, parse
from rerank_proxy.xcontent.time_value import TimeValue, parse_time_value, time_param

_START: Final = "cluster:admin/xpack/ml/trained_models/deployment/start"
_UPDATE: Final = "cluster:admin/xpack/ml/trained_models/deployment/update"
_STOP: Final = "cluster:admin/xpack/ml/trained_models/deployment/stop"

_DEFAULT_TIMEOUT: Final = TimeValue(20 * 10**9)
_DEFAULT_QUEUE_CAPACITY: Final = 10_000
_MAX_QUEUE_CAPACITY: Final = 100_000

WaitFor = Literal["starting", "started", "fully_allocated"]
_WAIT_FOR: Final[Mapping[str, WaitFor]] = {
    "started": "started",
    "starting": "starting",
    "fully_allocated": "fully_allocated",
}
_PRIORITIES: Final = ("low", "normal")
_OLD_NAMES: Final = {"model_threads": "number_of_allocations", "inference_threads": "threads_per_allocation"}


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to start a deployment. Without a `cache_size` it is the size of the model."""

    model_id: str
    deployment_id: str
    timeout: TimeValue
    wait_for: WaitFor
    number_of_allocations: int | None
    threads_per_allocation: int
    queue_capacity: int
    cache_size: ByteSize | None
    priority: str
    adaptive_allocations: AdaptiveAllocations | None

    def deployment(self, model_bytes: int, start_time: int) -> Deployment:
        adaptive = self.adaptive_allocations
        fewest = adaptive.min_number_of_allocations if adaptive is not None else None
        return Deployment(
            self.deployment_id,
            self.model_id,
            self.number_of_allocations or fewest or 1,
            self.threads_per_allocation,
            self.queue_capacity,
            (self.cache_size or ByteSize(model_bytes)).as_given,
            self.priority,
            start_time,
            adaptive,
        )


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """A request to change a deployment.

    Attributes:
        resets_adaptive: Remove the settings of adaptive allocations.
    """

    number_of_allocations: int | None
    adaptive_allocations: AdaptiveAllocations | None
    resets_adaptive: bool

    def applied_to(self, deployment: Deployment) -> Deployment:
        """Return the deployment with the changes.

        Raises:
            ElasticsearchError: 400, the changes are not possible.
        """
        adaptive = None if self.resets_adaptive else deployment.adaptive_allocations
        if self.adaptive_allocations is not None:
            adaptive = (adaptive or AdaptiveAllocations()).merged(self.adaptive_allocations)
        if adaptive is not None:
            if adaptive.enabled and self.number_of_allocations is not None:
                raise validation_error([NUMBER_AND_ADAPTIVE])
            if faults := adaptive.faults():
                raise validation_error(faults)
        number = self.number_of_allocations or deployment.number_of_allocations
        return replace(deployment, number_of_allocations=number, adaptive_allocations=adaptive)


@dataclass(frozen=True, slots=True)
class StopRequest:
    deployment_id: str
    allow_no_match: bool
    force: bool


def parse_start(model_id: str, params: Params, body: bytes) -> StartRequest:
    """Read a request to start a deployment from URL and body; the URL wins.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    values = _new_names(parse_object(parse(body), _START, _START_FIELDS)) if body else {}
    _check_same_id(values.get("model_id"), model_id)
    params_of = _ParamsOrBody(params, values)
    wait_for = params_of.text("wait_for", "started")
    priority = params_of.text("priority", "normal")
    if wait_for.lower() not in _WAIT_FOR:
        raise illegal_argument(
            "No enum constant org.elasticsearch.xpack.core.ml.inference.assignment.AllocationStatus.State."
            f"{wait_for.upper()}"
        )
    if priority.lower() not in _PRIORITIES:
        raise illegal_argument(
            "No enum constant org.elasticsearch.xpack.core.ml.inference.assignment.Priority."
            f"{priority.upper()}"
        )
    cache_size = params.get("cache_size")
    request = StartRequest(
        model_id,
        params_of.text("deployment_id", model_id),
        time_param(params, "timeout") or values.get("timeout", _DEFAULT_TIMEOUT),
        _WAIT_FOR[wait_for.lower()],
        params_of.integer("number_of_allocations"),
        params_of.integer("threads_per_allocation", 1),
        params_of.integer("queue_capacity", _DEFAULT_QUEUE_CAPACITY),
        values.get("cache_size") if cache_size is None else parse_byte_size(cache_size, "cache_size"),
        priority.lower(),
        values.get("adaptive_allocations"),
    )
    if faults := _start_faults(request):
        raise validation_error(faults)
    return request


def parse_update(deployment_id: str, params: Params, body: bytes) -> UpdateRequest:
    """Read a request to change a deployment.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    if not body:
        raise _body_required()
    values = _new_names(parse_object(parse(body), _UPDATE, _UPDATE_FIELDS))
    _check_same_id(values.get("model_id"), deployment_id)
    time_param(params, "timeout")
    number, adaptive = values.get("number_of_allocations"), values.get("adaptive_allocations")
    faults = []
    if number is not None and number < 1:
        faults.append("[number_of_allocations] must be a positive integer")
    if number is not None and adaptive is not None and adaptive.enabled:
        faults.append(NUMBER_AND_ADAPTIVE)
    if adaptive is not None:
        faults += adaptive.faults()
    if faults:
        raise validation_error(faults)
    return UpdateRequest(number, adaptive, "adaptive_allocations" in values and adaptive is None)


def parse_stop(deployment_id: str, params: Params, body: bytes) -> StopRequest:
    """Read a request to stop a deployment.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    if body:
        values = parse_object(parse(body), _STOP, _STOP_FIELDS)
        _check_same_id(values.get("model_id", values.get("id")), deployment_id)
        return StopRequest(deployment_id, values.get("allow_no_match", True), values.get("force", False))
    allow_no_match = "allow_no_match" not in params or params.flag("allow_no_match")
    return StopRequest(deployment_id, allow_no_match, params.flag("force"))


class _ParamsOrBody:
    """Values from the URL, else from the body, else defaults."""

    def __init__(self, params: Params, values: Mapping[str, Any]) -> None:
        self._params = params
        self._values = values

    def text(self, name: str, default: str) -> str:
        text: str = self._params.get(name, self._values.get(name, default))
        return text

    def integer(self, name: str, default: int | None = None) -> Any:
        old = next((old for old, new in _OLD_NAMES.items() if new == name), name)
        for given in (name, old):
            if given in self._params:
                return self._params.integer(given)
        return self._values.get(name, default)


def _start_faults(request: StartRequest) -> Sequence[str]:
    """Return the faults that ``StartTrainedModelDeploymentAction.Request#validate`` finds."""
    number, threads = request.number_of_allocations, request.threads_per_allocation
    adaptive = request.adaptive_allocations
    faults = []
    if number is not None:
        if number < 1:
            faults.append("[number_of_allocations] must be a positive integer")
        if adaptive is not None and adaptive.enabled:
            faults.append(NUMBER_AND_ADAPTIVE)
    if threads < 1:
        faults.append("[threads_per_allocation] must be a positive integer")
    if adaptive is not None:
        faults += adaptive.faults()
    faults += threads_faults(threads)
    if request.queue_capacity < 1:
        faults.append("[queue_capacity] must be a positive integer")
    if request.queue_capacity > _MAX_QUEUE_CAPACITY:
        faults.append(f"[queue_capacity] must be less than {_MAX_QUEUE_CAPACITY}")
    if request.timeout.nanos < 1:
        faults.append("[timeout] must be positive")
    if request.priority == "low":
        if number is not None and number > 1:
            faults.append("[number_of_allocations] must be 1 when [priority] is low")
        if threads > 1:
            faults.append("[threads_per_allocation] must be 1 when [priority] is low")
    return faults


def _new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_OLD_NAMES.get(name, name): value for name, value in values.items()}


def _check_same_id(stated: str | None, model_id: str) -> None:
    if stated is not None and stated != model_id:
        raise bad_request(
            f"Inconsistent model_id; '{stated}' specified in the body differs from '{model_id}' specified as "
            "a URL argument"
        )


def _body_required() -> ElasticsearchError:
    return error(400, "parse_exception", "request body is required")


def _adaptive(node: Node) -> AdaptiveAllocations | None:
    if node.kind == NULL:
        return None
    values = parse_object(node, "autoscaling_settings", _ADAPTIVE_FIELDS)
    return AdaptiveAllocations(**values)


def _int_or_null(node: Node) -> int:
    return UNSET if node.kind == NULL else to_int(node)


def _time(node: Node) -> TimeValue:
    return parse_time_value(node.scalar(), "timeout")


def _size(node: Node) -> ByteSize:
    return parse_byte_size(node.scalar() if node.kind == STRING else node.raw.decode(), "cache_size")


_INT_OR_NULL: Final = Field(frozenset({NUMBER, STRING, NULL}), _int_or_null)
_ADAPTIVE: Final = Field(frozenset({OBJECT, NULL}), _adaptive)
_ADAPTIVE_FIELDS: Final = {
    "enabled": BOOL,
    "min_number_of_allocations": _INT_OR_NULL,
    "max_number_of_allocations": _INT_OR_NULL,
}
_START_FIELDS: Final = {
    "model_id": STR,
    "deployment_id": STR,
    "timeout": Field(frozenset({STRING}), _time),
    "wait_for": STR,
    "threads_per_allocation": INT,
    "inference_threads": INT,
    "number_of_allocations": INT,
    "model_threads": INT,
    "queue_capacity": INT,
    "cache_size": Field(frozenset({STRING, NUMBER}), _size),
    "priority": STR,
    "adaptive_allocations": _ADAPTIVE,
}
_UPDATE_FIELDS: Final = {
    "model_id": STR,
    "number_of_allocations": INT,
    "model_threads": INT,
    "adaptive_allocations": _ADAPTIVE,
    "timeout": STR,
}
_STOP_FIELDS: Final = {
    "model_id": STR,
    "id": STR,
    "allow_no_match": BOOL,
    "force": BOOL,
    "finish_pending_work": BOOL,
}
