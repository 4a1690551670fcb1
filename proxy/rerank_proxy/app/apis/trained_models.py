"""`_ml/trained_models`: models for `text_similarity` are uploaded and asked here, all others upstream."""

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.rest import check_params, json_reply, printed_reply, printer_of
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError, error, illegal_argument
from rerank_proxy.inference.requests import required
from rerank_proxy.trained_models import answers
from rerank_proxy.trained_models.catalogue import now_ms
from rerank_proxy.trained_models.failures import (
    already_exists,
    bad_request,
    missing_deployment,
    missing_model,
)
from rerank_proxy.trained_models.model_config import TEXT_SIMILARITY, TrainedModelConfig
from rerank_proxy.trained_models.requests.config import is_text_similarity, parse_config
from rerank_proxy.trained_models.requests.deployments import parse_start, parse_stop, parse_update
from rerank_proxy.trained_models.requests.ids import IdExpression
from rerank_proxy.trained_models.requests.infer import Inferred, parse_infer
from rerank_proxy.trained_models.requests.parts import parse_part, parse_vocabulary
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.upstream.trained_models import CONFIGS, PATH, Page, UpstreamModels
from rerank_proxy.xcontent.java_numbers import print_double
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.splicing import Printer
from rerank_proxy.xcontent.target import decode

_STATS: Final = "trained_model_stats"
_INCLUDES: Final = (
    "definition",
    "total_feature_importance",
    "feature_importance_baseline",
    "hyperparameters",
    "definition_status",
)
_OF_PAGES: Final = ("from", "size")

_SMALL: Final = 1024 * 1024

T = TypeVar("T")


class TrainedModelsApi:
    """The operations on trained models and their deployments.

    Args:
        upstream: The API of the same name that upstream may have.
        in_use: Returns whether an inference endpoint uses the model with this id.
    """

    def __init__(
        self,
        models: TrainedModels,
        upstream: UpstreamModels,
        in_use: Callable[[str], bool] = lambda model_id: False,
    ) -> None:
        self._models = models
        self._in_use = in_use
        self._catalogue = models.catalogue
        self._deployments = models.serving
        self._upstream = upstream

    async def read(self, context: RequestContext, ids: str) -> Reply | None:
        """Return models (``RestGetTrainedModelsAction``)."""
        own = ("allow_no_match", "decompress_definition", "exclude_generated", "include", "tags", *_OF_PAGES)
        check_params(context, own)
        include = _include(context.params)
        tags = set(filter(None, context.params.get("tags", "").split(",")))
        expression = IdExpression.of(ids)
        local = [
            config
            for config in self._catalogue.all()
            if expression.matches(config.model_id) and tags <= set(config.tags)
        ]
        if not local and await self._is_upstreams(context):
            return None
        exclude_generated = context.params.flag("exclude_generated")
        items = [
            (
                config.model_id,
                answers.config_document(
                    config,
                    self._catalogue,
                    exclude_generated=exclude_generated,
                    definition_status="definition_status" in include,
                ),
            )
            for config in local
        ]
        names = {config.model_id for config in local}
        return await self._list(context, expression, names, items, CONFIGS, "")

    async def stats(self, context: RequestContext, ids: str) -> Reply | None:
        """Return statistics of models, named by deployments too (``RestGetTrainedModelsStatsAction``)."""
        check_params(context, ("allow_no_match", *_OF_PAGES))
        expression = IdExpression.of(ids)
        local = [config for config in self._catalogue.all() if self._is_meant(config, expression)]
        if not local and await self._is_upstreams(context):
            return None
        now = now_ms()
        items = [
            (config.model_id, document)
            for config in local
            for document in answers.stats_documents(config, self._deployments, now)
        ]
        names = {config.model_id for config in local} | set(self._deployments)
        return await self._list(context, expression, names, items, _STATS, "/_stats")

    async def create(self, context: RequestContext, model_id: str) -> Reply | None:
        """Create a model (``RestPutTrainedModelAction``)."""
        check_params(context, ("defer_definition_decompression", "wait_for_completion"))
        if not await offload(len(context.body), is_text_similarity, context.body):
            if await self._is_upstreams(context):
                return None
            raise bad_request(
                f"model [{model_id}] cannot be created: upstream has no trained models, and those of this "
                f"proxy are for the task [{TEXT_SIMILARITY}]"
            )
        config = await _small(context.body, lambda body: parse_config(model_id, body, now_ms()))
        if model_id in self._deployments:
            raise bad_request(
                f"Cannot create model [{model_id}] the id is the same as an current model deployment"
            )
        if await self._upstream.has(context.upstream(), model_id):
            raise already_exists(f"Trained machine learning model [{model_id}] already exists")
        created = await self._catalogue.create(config, context.upstream().caller)
        return json_reply(context, created.document())

    async def put_part(self, context: RequestContext, model_id: str) -> Reply | None:
        """Store a part of a model (``RestPutTrainedModelDefinitionPartAction``)."""
        check_params(context, ())
        if await self._leaves(context, model_id):
            return None
        number = Params((("part", decode(context.path_params["part"]), ""),)).integer("part")
        assert number is not None
        part = await offload(len(context.body), lambda body: parse_part(number, body), required(context.body))
        await self._catalogue.put_part(model_id, part)
        return json_reply(context, answers.ACKNOWLEDGED)

    async def put_vocabulary(self, context: RequestContext, model_id: str) -> Reply | None:
        """Store a model's vocabulary (``RestPutTrainedModelVocabularyAction``)."""
        check_params(context, ())
        if await self._leaves(context, model_id):
            return None
        vocabulary = await offload(len(context.body), parse_vocabulary, required(context.body))
        await self._catalogue.put_vocabulary(model_id, vocabulary)
        return json_reply(context, answers.ACKNOWLEDGED)

    async def delete(self, context: RequestContext, model_id: str) -> Reply | None:
        """Delete a model (``RestDeleteTrainedModelAction``)."""
        check_params(context, ("force", "timeout"))
        force = context.params.flag("force")
        if await self._leaves(context, model_id):
            return None
        await self._models.delete(model_id, in_use=self._in_use(model_id), force=force)
        return json_reply(context, answers.ACKNOWLEDGED)

    async def start(self, context: RequestContext, model_id: str) -> Reply | None:
        """Start a deployment (``RestStartTrainedModelDeploymentAction``)."""
        own = (
            "cache_size", "deployment_id", "inference_threads", "model_threads", "number_of_allocations",
            "priority", "queue_capacity", "threads_per_allocation", "timeout", "wait_for",
        )  # fmt: skip
        check_params(context, own)
        if await self._leaves(context, model_id):
            return None
        request = await _small(context.body, lambda body: parse_start(model_id, context.params, body))
        deployment = await self._deployments.start(request)
        config = self._catalogue.get(model_id)
        return json_reply(context, answers.assignment(deployment, config, self._deployments))

    async def update(self, context: RequestContext, deployment_id: str) -> Reply | None:
        """Change a deployment (``RestUpdateTrainedModelDeploymentAction``)."""
        check_params(context, ("master_timeout", "timeout"))
        if deployment_id not in self._deployments:
            if await self._is_upstreams(context):
                return None
            raise missing_deployment(deployment_id)
        request = await _small(context.body, lambda body: parse_update(deployment_id, context.params, body))
        deployment = await self._deployments.update(deployment_id, request)
        config = self._catalogue.get(deployment.model_id)
        return json_reply(context, answers.assignment(deployment, config, self._deployments))

    async def stop(self, context: RequestContext, deployment_id: str) -> Reply | None:
        """Stop a deployment (``RestStopTrainedModelDeploymentAction``)."""
        check_params(context, ("allow_no_match", "finish_pending_work", "force"))
        known = deployment_id in self._deployments or self._catalogue.find(deployment_id) is not None
        if not known and await self._is_upstreams(context):
            return None
        request = await _small(context.body, lambda body: parse_stop(deployment_id, context.params, body))
        await self._deployments.stop(request)
        return json_reply(context, answers.STOPPED)

    async def infer(self, context: RequestContext, name: str) -> Reply | None:
        """Score texts (``RestInferTrainedModelAction``)."""
        check_params(context, ("timeout",))
        known = name in self._deployments or self._catalogue.find(name) is not None
        if not known and await self._is_upstreams(context):
            return None
        request = await offload(len(context.body), parse_infer, context.params, context.body)
        config, results = await self._deployments.infer(name, request)
        field, printer = request.name_of_results(config), printer_of(context)
        docs = printer.array((_print_inferred(printer, field, result) for result in results), 1)
        return printed_reply(context, printer.object({"inference_results": docs}, 0))

    async def _list(
        self,
        context: RequestContext,
        expression: IdExpression,
        names: set[str],
        local: list[tuple[str, dict[str, Any]]],
        name: str,
        suffix: str,
    ) -> Reply:
        """Return one page of the models here and upstream's, by id.

        Args:
            names: Ids that upstream need not be asked for.
            local: The items of models that are here, with their ids.
            name: Of the list.
        """
        start, size = _page(context.params)
        rest = expression.without(names)
        page: Page | None = Page(0, [])
        if rest.tokens:
            # The first so many of upstream's are enough to know the page of both.
            others = context.params.without(_OF_PAGES)
            target = f"{PATH}/{quote(str(rest), safe=',*')}{suffix}?from=0&size={start + size}"
            page = await self._upstream.page(
                context.upstream(), f"{target}&{others}" if others else target, name
            )
        if page is None:
            allow = "allow_no_match" not in context.params or context.params.flag("allow_no_match")
            missing = rest.unmatched(names, allow_no_match=allow)
            if missing:
                raise missing_model(",".join(missing))
            page = Page(0, [])
        printer = printer_of(context)
        items = [(model_id, printer.value(document, 2)) for model_id, document in local] + page.items
        items.sort(key=lambda item: item[0])
        shown = [printed for _, printed in items[start : start + size]]
        count = b"%d" % (len(local) + page.count)
        return printed_reply(context, printer.object({"count": count, name: printer.array(shown, 1)}, 0))

    def _is_meant(self, config: TrainedModelConfig, expression: IdExpression) -> bool:
        deployments = self._deployments.of_model(config.model_id)
        names = (config.model_id, *(each.deployment_id for each in deployments))
        return any(expression.matches(name) for name in names)

    async def _is_upstreams(self, context: RequestContext) -> bool:
        """Return whether upstream has such models, so that it may answer for what is not known here."""
        return await self._upstream.exists(context.upstream())

    async def target(self, context: RequestContext) -> str:
        """Return the id in the path; empty where there is none."""
        return decode(context.path_params.get("id", ""))

    async def _leaves(self, context: RequestContext, model_id: str) -> bool:
        """Return whether upstream is to answer for this model.

        Raises:
            ElasticsearchError: 404, the model is not known here, and upstream has no such models.
        """
        if self._catalogue.find(model_id) is not None:
            return False
        if await self._is_upstreams(context):
            return True
        raise missing_model(model_id)


async def _small(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Read a body that holds neither a model nor texts.

    Raises:
        ElasticsearchError: 413, it is too large for that; or what `parse` raises.
    """
    if len(body) > _SMALL:
        raise error(
            413, "content_too_long_exception", f"the body is larger than the [{_SMALL}] bytes it may have"
        )
    return await offload(len(body), parse, body)


def _page(params: Params) -> tuple[int, int]:
    """Return the first item of the page and their number (``PageParams``)."""
    start, size = params.integer("from"), params.integer("size")
    for name, value in (("from", start), ("size", size)):
        if value is not None and value < 0:
            raise illegal_argument(f"Parameter [{name}] cannot be < 0")
    return start or 0, 100 if size is None else size


def _include(params: Params) -> set[str]:
    names = set(filter(None, params.get("include", "").split(",")))
    if unknown := sorted(names - set(_INCLUDES)):
        raise _unknown_include(unknown[0])
    return names


def _unknown_include(name: str) -> ElasticsearchError:
    known = ", ".join(_INCLUDES)
    return bad_request(f"unknown [include] parameter [{name}]. Valid options are [{known}]")


def _print_inferred(printer: Printer, field: str, result: Inferred) -> bytes:
    """Print a score as the double that it is natively (``TextSimilarityInferenceResults``)."""
    shown = {field: print_double(result.score).encode()}
    if result.truncated:
        shown["is_truncated"] = b"true"
    return printer.object(shown, 2)
