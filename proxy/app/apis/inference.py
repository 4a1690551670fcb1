"""`_inference`: endpoints of task type `rerank` are managed and called here, all others upstream."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from proxy.app.apis.context import RequestContext
from proxy.app.apis.gate import Gate
from proxy.app.apis.parameters import check_params
from proxy.app.apis.replies import json_reply, printed_reply, printer_of, unsupported_type
from proxy.app.apis.upstream_inference import UpstreamInference
from proxy.app.formats.media_types import is_json
from proxy.app.metrics import InferenceMetrics
from proxy.errors import error
from proxy.inference.configuration import RERANK, EndpointConfig
from proxy.inference.endpoints import Endpoints
from proxy.inference.failures import not_found, status_error, wrong_task_type
from proxy.inference.privileges import Action
from proxy.inference.ranking import RankedDoc, Ranking, RerankInput
from proxy.inference.requests import (
    ANY,
    PutRequest,
    check_id,
    check_runs,
    parse_put,
    parse_rerank,
    parse_update,
    required,
    task_type_of,
)
from proxy.inference.service import Service
from proxy.inference.settings_table import unknown_settings
from proxy.search.rawjson import Printer
from proxy.search.upstream import Reply, Upstream
from proxy.xcontent.java_numbers import print_float
from proxy.xcontent.time_value import time_param

_DEFAULT_TIMEOUT_S: Final = 30.0
_ALL: Final = ("_all", "*")


class Target:
    """The endpoint that a path names: `{inference_id}` or `{task_type}/{inference_id}`.

    The task type is `any` where the path names none.
    """

    def __init__(self, path_params: Mapping[str, str]) -> None:
        first, second = (unquote(path_params.get(name, "")) for name in ("first", "second"))
        self.inference_id = second or first
        self.task_type = task_type_of(first) if second else ANY

    def matches(self, task_type: str) -> bool:
        return self.task_type in (ANY, task_type)


Operation = Callable[[RequestContext, Target], Awaitable[Reply | None]]
"""What one method does at one path. None: it is upstream's to answer."""


class InferenceApi:
    """All operations on endpoints.

    Args:
        check_new: Whether a new or changed endpoint is tried before it is kept.
    """

    def __init__(self, endpoints: Endpoints, *, check_new: bool = True) -> None:
        self._endpoints = endpoints
        self._upstream = UpstreamInference()
        self._check_new = check_new

    async def read(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestGetInferenceModelAction``: one endpoint, all of a task type, or all."""
        check_params(context, ())
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
            await self._leave_to_upstream(context, target.inference_id)
            return None
        if not target.matches(RERANK):
            raise wrong_task_type(RERANK, target.task_type)
        return _endpoints(context, [printer_of(context).value(endpoint.config.document(), 2)])

    async def put(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestPutInferenceModelAction``."""
        check_params(context, ("timeout",))
        timeout_s = _timeout_s(context)
        inference_id = target.inference_id
        if target.task_type not in (ANY, RERANK) and await self._upstream.exists(context.upstream()):
            return None
        check_id(inference_id)
        request = parse_put(context.body, target.task_type)
        service = self._endpoints.services.get(request.service)
        if (request.task_type != RERANK or service is None) and await self._upstream.exists(
            context.upstream()
        ):
            return None
        config = _parse(service, inference_id, request)
        if await self._upstream.has(context.upstream(), inference_id):
            reason = f"Inference endpoint [{inference_id}] already exists"
            raise error(400, "resource_already_exists_exception", reason)
        deadline = asyncio.get_running_loop().time() + timeout_s
        await self._endpoints.create(config, deadline, check=self._check_new)
        return json_reply(context, config.document())

    async def update(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestUpdateInferenceModelAction``."""
        check_params(context, ("timeout",))
        inference_id = target.inference_id
        endpoint = await self._endpoints.find(inference_id)
        if endpoint is None and await self._upstream.exists(context.upstream()):
            return None
        request = parse_update(context.body)
        if endpoint is None:
            reason = f"The inference endpoint [{inference_id}] does not exist and cannot be updated"
            raise error(404, "resource_not_found_exception", reason)
        if inference_id.startswith("."):
            raise status_error(400, f"Default endpoint [{inference_id}] cannot be updated")
        if not target.matches(RERANK) or request.task_type not in (None, RERANK):
            raise status_error(400, "Task type must match the task type of the existing endpoint")
        service = self._service(endpoint.config)
        config = service.update(endpoint.config, request.service_settings, request.task_settings)
        deadline = asyncio.get_running_loop().time() + _timeout_s(context)
        await self._endpoints.replace(config, deadline, check=self._check_new)
        return json_reply(context, config.document())

    async def delete(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestDeleteInferenceEndpointAction``."""
        check_params(context, ("dry_run", "force"))
        inference_id = target.inference_id
        dry_run, force = context.params.flag("dry_run"), context.params.flag("force")
        endpoint = await self._endpoints.find(inference_id)
        if endpoint is None:
            await self._leave_to_upstream(context, inference_id)
            return None
        if not target.matches(RERANK):
            raise wrong_task_type(RERANK, target.task_type)
        if dry_run or not force:
            pipelines = await _referring_pipelines(context.upstream(), inference_id)
            problem = _references(inference_id, pipelines)
            if dry_run:
                return json_reply(
                    context,
                    {"acknowledged": False, "pipelines": pipelines, "indexes": [], "error_message": problem},
                )
            if problem:
                raise status_error(409, problem)
        if inference_id.startswith(".") and self._endpoints.is_fixed(inference_id):
            if not force:
                raise status_error(
                    400,
                    f"[{inference_id}] is a reserved inference endpoint. Use the force=true query parameter "
                    "to delete the inference endpoint.",
                )
            # As in Elasticsearch it is there again at once, made from its defaults.
        else:
            await self._endpoints.delete(inference_id)
        return json_reply(context, {"acknowledged": True, "pipelines": [], "indexes": []})

    async def run(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestInferenceAction``."""
        check_params(context, ("timeout",))
        required(context.body)
        timeout_s = _timeout_s(context)
        endpoint = await self._endpoints.find(target.inference_id)
        if endpoint is None:
            await self._leave_to_upstream(context, target.inference_id)
            return None
        check_runs(target.task_type)
        request = parse_rerank(context.body)
        service = self._service(endpoint.config)
        call = RerankInput(
            request.query,
            request.inputs,
            request.top_n,
            request.return_documents,
            service.request_task_settings(endpoint.config, request.task_settings),
        )
        ranking = await endpoint.rank(call, asyncio.get_running_loop().time() + timeout_s)
        return printed_reply(context, _print_ranking(printer_of(context), ranking))

    async def stream(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestStreamInferenceAction``: nothing that reranks can stream."""
        required(context.body)
        endpoint = await self._endpoints.find(target.inference_id)
        if endpoint is None:
            await self._leave_to_upstream(context, target.inference_id)
            return None
        check_runs(target.task_type)
        raise status_error(405, f"Streaming is not allowed for service [{endpoint.config.service}].")

    async def services(self, context: RequestContext, target: Target) -> Reply | None:
        """``RestGetInferenceServicesAction``: the catalogue, upstream's and ours in one."""
        check_params(context, ())
        task_type = task_type_of(target.inference_id) if target.inference_id else ANY
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

    async def _leave_to_upstream(self, context: RequestContext, inference_id: str) -> None:
        """An id that is not known here may be upstream's.

        Raises:
            InferenceFailedError: 404, upstream has no such API.
        """
        if not await self._upstream.exists(context.upstream()):
            raise not_found(inference_id)


class Inference:
    """What can be done at one path, for those who may do it.

    Args:
        operations: By HTTP method, with what Elasticsearch authorises; upstream answers the others.
    """

    def __init__(
        self,
        operations: Mapping[str, tuple[Operation, Action]],
        gate: Gate,
        metrics: InferenceMetrics,
    ) -> None:
        self._operations = operations
        self._gate = gate
        self._metrics = metrics

    async def answer(self, context: RequestContext) -> Reply | None:
        if context.method not in self._operations:
            return None
        if context.body and not is_json(context.content_type):
            return unsupported_type(context)
        operation, action = self._operations[context.method]
        await self._gate.require(context, action)
        reply = await operation(context, Target(context.path_params))
        if reply is not None:
            self._metrics.answered()
        return reply


def _parse(service: Service | None, inference_id: str, request: PutRequest) -> EndpointConfig:
    """Elasticsearch's checks of a new endpoint, in its order."""
    if service is None:
        raise status_error(400, f"Unknown service [{request.service}]")
    if request.service_settings is None:
        raise status_error(400, "Missing required field [service_settings]")
    if request.task_type != RERANK:
        raise status_error(
            400, f"The [{request.service}] service does not support task type [{request.task_type}]"
        )
    config = service.parse(inference_id, request.service_settings, request.task_settings)
    if request.others:
        raise unknown_settings(request.others, service.name)
    return config


def _timeout_s(context: RequestContext) -> float:
    value = time_param(context.params, "timeout")
    if value is None or value.nanos < 0:
        return _DEFAULT_TIMEOUT_S
    return value.nanos / 1e9


async def _referring_pipelines(upstream: Upstream, inference_id: str) -> list[str]:
    """The pipelines with an `inference` processor that names the endpoint
    (``InferenceProcessorInfoExtractor``). Those that the caller may not read are not seen.
    """
    reply = await upstream.request("GET", "/_ingest/pipeline", b"")
    if reply.status != 200:
        return []
    pipelines: Mapping[str, Any] = json.loads(reply.body)
    return sorted(name for name, pipeline in pipelines.items() if _refers(pipeline, inference_id))


def _refers(value: Any, inference_id: str) -> bool:
    if isinstance(value, list):
        return any(_refers(item, inference_id) for item in value)
    if not isinstance(value, dict):
        return False
    processor = value.get("inference")
    if isinstance(processor, dict) and processor.get("model_id") == inference_id:
        return True
    return any(_refers(item, inference_id) for item in value.values())


def _references(inference_id: str, pipelines: Iterable[str]) -> str:
    names = ", ".join(pipelines)
    if not names:
        return ""
    return (
        f"Inference endpoint {inference_id} is referenced by pipelines: [{names}]. Ensure that no pipelines "
        "are using this inference endpoint, or use force to ignore this warning and delete the inference "
        "endpoint."
    )


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


def _print_ranking(printer: Printer, ranking: Ranking) -> bytes:
    """``RankedDocsResults``: scores are float32 as Java prints them."""
    docs = printer.array((_print_doc(printer, doc) for doc in ranking.docs), 1)
    return printer.object({RERANK: docs}, 0)


def _print_doc(printer: Printer, doc: RankedDoc) -> bytes:
    shown = {"index": b"%d" % doc.index, "relevance_score": print_float(doc.relevance_score)}
    if doc.text is not None:
        shown["text"] = printer.value(doc.text)
    return printer.object(shown, 2)
