"""Inference endpoints that only upstream has: they score there, with the caller's credentials."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from rerank_proxy.chunks.settings import default_window_words
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.engine import Scores
from rerank_proxy.inference.configuration import RERANK, EndpointConfig
from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import (
    InferenceFailedError,
    because,
    illegal_state,
    status_error,
    timed_out,
    wrong_task_type,
)
from rerank_proxy.inference.ranking import check_results, in_input_order
from rerank_proxy.inference.remote.shapes import MalformedAnswerError, Shape
from rerank_proxy.inference.service import Ranker
from rerank_proxy.observe import stages
from rerank_proxy.search.failures import cause_of
from rerank_proxy.search.run import Run
from rerank_proxy.upstream.protocol import Reply, TooLateError, UpstreamRefusedError, reading

_RESULTS: Final = Shape(RERANK, text=None)
_HAS_NONE = (400, 404, 405)
"""Statuses where there is no such endpoint, as there cannot be one of such an id, or no such API."""
_LIMITS = ("top_n", "top_k")
"""The task settings that limit the number of results; each service has one of them."""


async def find_upstream(run: Run, inference_id: str) -> Endpoint | None:
    """Return upstream's endpoint of this id; None where upstream has none, or no such API.

    Raises:
        InferenceFailedError: 400, its task type is not `rerank`.
        UpstreamRefusedError: Upstream refused to say.
        ElasticsearchError: 502, upstream does not answer as Elasticsearch does.
    """
    path = quote(inference_id, safe="", errors="replace")  # which Java makes of an unpaired surrogate
    try:
        reply = await run.send("GET", f"/_inference/{path}", b"")
    except UpstreamRefusedError as refused:
        if refused.reply.status in _HAS_NONE:
            return None
        raise
    with reading("[_inference]"):
        (found,) = json.loads(reply.body)["endpoints"]
        task_type = str(found["task_type"])
        config = _config(inference_id, found)
        model_id = config.service_settings.get("model_id")
        if not isinstance(model_id, str | None):
            raise TypeError("no id of a model")
    if task_type != RERANK:
        raise wrong_task_type(task_type)
    top_n = next((n for name in _LIMITS if isinstance(n := config.task_settings.get(name), int)), None)
    ranker = UpstreamRanker(run, config, path)
    return Endpoint(config, ranker, top_n, default_window_words(config.service, model_id))


def _config(inference_id: str, found: Mapping[str, Any]) -> EndpointConfig:
    settings = (dict(found.get(name) or {}) for name in ("service_settings", "task_settings"))
    return EndpointConfig(inference_id, str(found.get("service")), *settings)


class UpstreamRanker(Ranker):
    """Scores the texts of one search by upstream's `_inference` API, with the caller's headers."""

    def __init__(self, run: Run, config: EndpointConfig, path: str) -> None:
        self._run = run
        self._inference_id = config.inference_id
        self._path = path
        self.model = str(config.service_settings.get("model_id") or config.service)

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Return upstream's scores, or raise its own error."""
        body = json.dumps({"query": query, "input": list(texts)}).encode()
        try:
            with stages.stage(None, "score"):
                target = f"/_inference/{RERANK}/{self._path}"
                reply = await self._run.send("POST", target, body, deadline, stage="score")
        except TooLateError:
            raise timed_out(self._inference_id, deadline, "upstream did not answer in time") from None
        except UpstreamRefusedError as refused:
            raise _failure(refused.reply) from None
        try:
            return await offload(len(reply.body), _scores, reply.body, self._inference_id, len(texts))
        except MalformedAnswerError as problem:
            reason = (
                f"upstream answered an inference for [{self._inference_id}] with 200, but not as "
                f"Elasticsearch does: {problem}"
            )
            raise status_error(502, reason) from None


def _scores(body: bytes, inference_id: str, texts: int) -> Scores:
    docs = _RESULTS.read(body)
    check_results(docs, inference_id, texts)
    return Scores(in_input_order(docs, texts))


def _failure(reply: Reply) -> InferenceFailedError:
    try:
        cause = cause_of(json.loads(reply.body)["error"])
        return because("upstream_error", InferenceFailedError(reply.status, cause))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return illegal_state(f"upstream answered an inference with {reply.status}, and without an error")
