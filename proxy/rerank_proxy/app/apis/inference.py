"""`_inference`: endpoints of task type `rerank` are managed and called here, all others upstream."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.rest import check_no_body, check_params, json_reply, printed_reply, printer_of
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.inference.configuration import RERANK, EndpointConfig
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.failures import (
    InferenceFailedError,
    never_found,
    not_found,
    not_served,
    status_error,
    unknown_service,
    wrong_task_type,
)
from rerank_proxy.inference.ranking import RankedDoc
from rerank_proxy.inference.requests import (
    ANY,
    PutRequest,
    check_id,
    check_task_type,
    is_valid_id,
    parse_put,
    parse_rerank,
    parse_update,
    required,
    task_type_of,
)
from rerank_proxy.inference.service import Service
from rerank_proxy.inference.service_settings import unknown_settings
from rerank_proxy.inference.store import already_exists
from rerank_proxy.inference.write_limits import WriteLimits
from rerank_proxy.upstream import callers
from rerank_proxy.upstream.inference import UpstreamInference, references, referring_pipelines
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import Printer
from rerank_proxy.xcontent.target import decode
from rerank_proxy.xcontent.time_value import TimeValue, time_param

_DEFAULT_TIMEOUT: Final = TimeValue(30 * 10**9)
_ALL: Final = ("_all", "*")


class Target:
    """The endpoint that a path names: `{inference_id}` or `{task_type}/{inference_id}`.

    The task type is `any` where the path names none.

    Raises:
        InferenceFailedError: 400, there is no such task type.
    """

    def __init__(self, path_params: Mapping[str, str]) -> None:
        first, second = (decode(path_params.get(name, "")) for name in ("first", "second"))
        self.inference_id = second or first
        self.task_type = task_type_of(first) if second else ANY

    def __str__(self) -> str:
        return self.inference_id

    def matches(self, task_type: str) -> bool:
        return self.task_type in (ANY, task_type)


class InferenceApi:
    """The operations on inference endpoints.

    Each refuses what Elasticsearch's REST layer refuses, in its order, then finds out whether the request is
    upstream's, then refuses what the action would.

    Args:
        upstream: The API of the same name that upstream may have.
        limits: How many endpoints there may be, and how often they may change.
        check_new: Whether a new or changed endpoint is tried before it is kept.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        upstream: UpstreamInference,
        limits: WriteLimits,
        *,
        check_new: bool = True,
    ) -> None:
        self._endpoints = endpoints
        self._upstream = upstream
        self._limits = limits
        self._check_new = check_new

    async def read(self, context: RequestContext, target: Target) -> Reply | None:
        """Return one endpoint, all of a task type, or all (``RestGetInferenceModelAction``)."""
        check_params(context, ())
        check_no_body(context)
        if target.inference_id and target.inference_id not in _ALL:
            return await self._read_one(context, target)
        printer = printer_of(context)
        listed: dict[str, bytes] = {}
        if target.matches(RERANK):
            for config in self._endpoints.all():
                listed[config.inference_id] = printer.value(config.document(), 2)
        query = context.params.only({"pretty", "human"})
        path = context.path + (f"?{query}" if query else "")
        for inference_id, raw in await self._upstream.endpoints(context.upstream(), path):
            listed.setdefault(inference_id, raw)
        return _endpoints(context, [listed[inference_id] for inference_id in sorted(listed)])

    async def _read_one(self, context: RequestContext, target: Target) -> Reply | None:
        endpoint = await self._endpoints.find(target.inference_id)
        if endpoint is None:
            if await self.upstream_answers(context):
                return None
            raise _nowhere(target)
        if not target.matches(RERANK):
            raise wrong_task_type(RERANK, target.task_type)
        return _endpoints(context, [printer_of(context).value(endpoint.config.document(), 2)])

    async def put(self, context: RequestContext, target: Target) -> Reply | None:
        """Create an endpoint (``RestPutInferenceModelAction``, ``TransportPutInferenceModelAction``).

        A valid request for a service that is known here and the task type `rerank` is carried out here; where
        upstream has the API, all others are left to it.
        """
        timeout = _Timeout(context)
        required(context.body)
        check_params(context, ("timeout",))
        inference_id = target.inference_id
        is_served = target.matches(RERANK) and is_valid_id(inference_id)
        if not is_served and await self.upstream_answers(context):
            return None
        check_id(inference_id)
        request = await offload(len(context.body), parse_put, context.body, target.task_type)
        service = self._endpoints.services.get(request.service)
        is_served = request.task_type == RERANK and service is not None
        if not is_served and await self.upstream_answers(context):
            return None
        if request.task_type != RERANK:
            raise not_served(request.task_type)
        if service is None:
            raise unknown_service(request.service, self._endpoints.services)
        config = await offload(len(context.body), _parse, service, inference_id, request)
        if await self._upstream.has(context.upstream(), inference_id):
            raise already_exists(inference_id)
        self._limits.check_number(self._endpoints.stored)
        self._limits.admit(callers.current())
        until_stored = self._limits.coming()
        await self._endpoints.create(config, timeout.deadline(), until_stored, check=self._check_new)
        return json_reply(context, config.document())

    async def update(self, context: RequestContext, target: Target) -> Reply | None:
        """Change an endpoint.

        ``RestUpdateInferenceModelAction``, ``TransportUpdateInferenceModelAction``.
        """
        required(context.body)
        timeout = _Timeout(context)
        check_params(context, ("timeout", "master_timeout"))
        inference_id = target.inference_id
        endpoint = await self._endpoints.find(inference_id)
        if endpoint is None and await self.upstream_answers(context):
            return None
        check_id(inference_id)
        request = await offload(len(context.body), parse_update, context.body, target.task_type)
        if endpoint is None and request.task_type not in (ANY, RERANK):
            raise never_found(inference_id)
        if endpoint is None:
            reason = f"The inference endpoint [{inference_id}] does not exist and cannot be updated"
            raise error(404, "resource_not_found_exception", reason)
        service = self._service(endpoint.config)
        if request.task_type not in (ANY, RERANK):
            raise status_error(400, "Task type must match the task type of the existing endpoint")
        config = await offload(
            len(context.body),
            service.update,
            endpoint.config,
            request.service_settings,
            request.task_settings,
        )
        self._limits.admit(callers.current())
        await self._endpoints.replace(config, timeout.deadline(), check=self._check_new)
        return json_reply(context, config.document())

    async def delete(self, context: RequestContext, target: Target) -> Reply | None:
        """Delete an endpoint.

        ``RestDeleteInferenceEndpointAction``, ``TransportDeleteInferenceEndpointAction``.
        """
        force, dry_run = context.params.flag("force"), context.params.flag("dry_run")
        check_params(context, ("dry_run", "force"))
        check_no_body(context)
        inference_id = target.inference_id
        endpoint = await self._endpoints.find(inference_id)
        if endpoint is None:
            if await self.upstream_answers(context):
                return None
            raise _nowhere(target)
        if not target.matches(RERANK):
            raise wrong_task_type(RERANK, target.task_type)
        if dry_run or not force:
            pipelines = await referring_pipelines(context.upstream(), inference_id)
            problem = references(inference_id, pipelines)
            if dry_run:
                return json_reply(
                    context,
                    {"acknowledged": False, "pipelines": pipelines, "indexes": [], "error_message": problem},
                )
            if problem:
                raise status_error(409, problem)
        if inference_id.startswith(".") and self._endpoints.is_preconfigured(inference_id):
            if not force:
                raise status_error(
                    400,
                    f"[{inference_id}] is a reserved inference endpoint. Use the force=true query parameter "
                    "to delete the inference endpoint.",
                )
            # As in Elasticsearch it is there again right away, made from its defaults.
        else:
            self._limits.admit(callers.current())
            await self._endpoints.delete(inference_id)
        return json_reply(context, {"acknowledged": True, "pipelines": [], "indexes": []})

    async def run(self, context: RequestContext, target: Target) -> Reply | None:
        """Rerank texts (``RestInferenceAction``, ``TransportRerankAction``)."""
        required(context.body)
        timeout = _Timeout(context)
        check_params(context, ("timeout",))
        endpoint = await self._endpoints.find(target.inference_id)
        if endpoint is None:
            if await self.upstream_answers(context):
                return None
            if target.task_type == RERANK:  # else the endpoint is looked up first, to know what body to read
                await offload(len(context.body), parse_rerank, context.body)
            raise _nowhere(target)
        check_task_type(target.task_type)
        request = await offload(len(context.body), parse_rerank, context.body)
        service = self._service(endpoint.config)
        request = await offload(len(context.body), service.complete, endpoint.config, request)
        docs = await endpoint.rank(request, timeout.deadline())
        printed = await offload(len(context.body), _print_results, printer_of(context), docs)
        return printed_reply(context, printed)

    async def stream(self, context: RequestContext, target: Target) -> Reply | None:
        """Refuse to stream, which no service that reranks can do (``RestStreamInferenceAction``)."""
        required(context.body)
        _Timeout(context)
        check_params(context, ("timeout",))
        endpoint = await self._endpoints.find(target.inference_id)
        if endpoint is None:
            if await self.upstream_answers(context):
                return None
            raise _nowhere(target)
        check_task_type(target.task_type)
        raise status_error(405, f"Streaming is not allowed for service [{endpoint.config.service}].")

    async def services(self, context: RequestContext, target: Target) -> Reply | None:
        """Return upstream's services and those that are here (``RestGetInferenceServicesAction``)."""
        task_type = task_type_of(target.inference_id) if target.inference_id else ANY
        check_params(context, ())
        check_no_body(context)
        rows = {
            row["service"]: row for row in await self._upstream.services(context.upstream(), context.path)
        }
        if task_type in (ANY, RERANK):
            for service in self._endpoints.services.values():
                row = rows.setdefault(service.name, _catalogue_row(service))
                if RERANK not in row["task_types"]:
                    row["task_types"] = [*row["task_types"], RERANK]
        return json_reply(context, [rows[name] for name in sorted(rows)])

    def _service(self, config: EndpointConfig) -> Service:
        service = self._endpoints.services.get(config.service)
        if service is None:
            raise status_error(400, f"Unknown service [{config.service}] for model [{config.inference_id}]")
        return service

    async def target(self, context: RequestContext) -> Target | None:
        """Return the endpoint that the path names; None for a task type that only upstream may know."""
        try:
            return Target(context.path_params)
        except InferenceFailedError:
            if await self.upstream_answers(context):
                return None
            raise

    async def upstream_answers(self, context: RequestContext) -> bool:
        """Return whether upstream has such an API, so that it may know what is not known here."""
        return await self._upstream.exists(context.upstream())


def _parse(service: Service, inference_id: str, request: PutRequest) -> EndpointConfig:
    """Check a new endpoint as Elasticsearch does, in its order; return its configuration."""
    if service.context.models.is_deployed(inference_id):
        raise status_error(
            400,
            f"Inference endpoint IDs must be unique. Requested inference endpoint ID [{inference_id}] "
            "matches existing trained model ID(s) but must not.",
        )
    if request.service_settings is None:
        raise status_error(400, "Missing required field [service_settings]")
    if request.unknown:
        raise unknown_settings(request.unknown, service.name)
    return service.parse(inference_id, request.service_settings, request.task_settings)


def _nowhere(target: Target) -> ElasticsearchError:
    """Return the failure of a request for an endpoint that is neither here nor upstream."""
    if not target.matches(RERANK):
        return never_found(target.inference_id)
    return not_found(target.inference_id)


class _Timeout:
    """The request's `timeout`, or the default.

    Raises:
        ElasticsearchError: 400, the parameter is not a time.
    """

    def __init__(self, context: RequestContext) -> None:
        value = time_param(context.params, "timeout")
        self._given = value is not None and value.nanos >= 0
        self._value = value if value is not None and self._given else _DEFAULT_TIMEOUT

    def deadline(self) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline.of_request(self._value, given=self._given)


def _catalogue_row(service: Service) -> dict[str, Any]:
    return {
        "service": service.name,
        "name": service.label,
        "task_types": [RERANK],
        "configurations": service.configurations(),
    }


def _endpoints(context: RequestContext, endpoints: Iterable[bytes]) -> Reply:
    printer = printer_of(context)
    return printed_reply(context, printer.object({"endpoints": printer.array(endpoints, 1)}, 0))


def _print_results(printer: Printer, docs: Iterable[RankedDoc]) -> bytes:
    """Print ``RankedDocsResults``: scores are float32 as Java prints them."""
    printed = printer.array((_print_doc(printer, doc) for doc in docs), 1)
    return printer.object({RERANK: printed}, 0)


def _print_doc(printer: Printer, doc: RankedDoc) -> bytes:
    shown = {"index": b"%d" % doc.index, "relevance_score": print_float(doc.relevance_score)}
    if doc.text is not None:
        shown["text"] = printer.value(doc.text)
    return printer.object(shown, 2)
