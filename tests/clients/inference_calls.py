"""Calls every method for inference endpoints that the installed elasticsearch-py has.

    python inference_calls.py URL MODEL ENDPOINTS

It imports nothing of the project: it runs in an environment with nothing but the client. It prints one JSON
object, each call with what it returned or raised.

    URL: of the proxy.
    MODEL: a model that the proxy serves.
    ENDPOINTS: a JSON object of the settings of an endpoint (`service_settings`, `task_settings`) by service.
"""

import inspect
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import elasticsearch

TASK_SETTINGS = {"return_documents": False}
QUERY = "flesh-eating bad guy"
TEXTS = ["A dog finds its way home.", "A cannibal helps to catch a killer.", "Two bakers fall in love."]
TYPED = {
    "put_alibabacloud": "alibabacloud-ai-search",
    "put_amazonsagemaker": "amazon_sagemaker",
    "put_azureaistudio": "azureaistudio",
    "put_cohere": "cohere",
    "put_contextualai": "contextualai",
    "put_custom": "custom",
    "put_elasticsearch": "elasticsearch",
    "put_googlevertexai": "googlevertexai",
    "put_hugging_face": "hugging_face",
    "put_jinaai": "jinaai",
    "put_nvidia": "nvidia",
    "put_openshift_ai": "openshift_ai",
    "put_voyageai": "voyageai",
    "put_watsonx": "watsonxai",
}
"""The services of methods that make rerank endpoints; all other `put_…` are for other tasks."""


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns; of an error its class, status, type and reason."""
    try:
        answer = call()
    except elasticsearch.ApiError as failure:
        body = failure.body if isinstance(failure.body, dict) else {}
        reason = body.get("error", {}).get("reason") if isinstance(body.get("error"), dict) else body
        return {
            "raised": type(failure).__name__,
            "status": failure.meta.status,
            "type": failure.error,
            "reason": reason,
        }
    return answer.body


def arguments(method: Any) -> set[str]:
    return {*inspect.signature(method).parameters}


def calls(inference: Any, model: str, endpoints: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return the calls in the order in which they are to be made."""
    local = {"model_id": model, "num_threads": 1, "num_allocations": 1}
    config = {"service": "elasticsearch", "service_settings": local}
    named = {"inference_id": "typed", "task_type": "rerank"}
    asked = {"inference_id": "typed", "query": QUERY, "input": TEXTS}
    made: dict[str, Callable[[], Any]] = {
        "put": lambda: inference.put(**named, inference_config=config),
        "put again": lambda: inference.put(**named, inference_config=config),
        "put without task_type": lambda: inference.put(
            inference_id="untyped",
            inference_config={**config, "task_type": "rerank", "task_settings": TASK_SETTINGS},
        ),
        "put as body": lambda: inference.put(inference_id="as-body", task_type="rerank", body=config),
        "put bad id": lambda: inference.put(
            inference_id="x y/z", task_type="rerank", inference_config=config
        ),
        "put unknown service": lambda: inference.put(
            inference_id="other", task_type="rerank", inference_config={**config, "service": "nope"}
        ),
        "get all": lambda: inference.get(),
        "get": lambda: inference.get(inference_id="typed"),
        "get with task_type": lambda: inference.get(**named),
        "get task_type": lambda: inference.get(task_type="rerank"),
        "get wildcard": lambda: inference.get(inference_id="_all", task_type="rerank"),
        "get unknown": lambda: inference.get(inference_id="x y/z"),
        "get other task_type": lambda: inference.get(inference_id="typed", task_type="completion"),
        "get with all options": lambda: inference.get(
            inference_id="typed",
            pretty=True,
            human=True,
            error_trace=True,
            filter_path="endpoints.inference_id",
        ),
        "inference": lambda: inference.inference(**asked),
        "inference with task_type": lambda: inference.inference(
            **asked, task_type="rerank", task_settings=TASK_SETTINGS, timeout="30s"
        ),
        "inference as body": lambda: inference.inference(
            inference_id="typed",
            body={"query": QUERY, "input": TEXTS, "top_n": 1, "return_documents": False},
        ),
        "inference without query": lambda: inference.inference(inference_id="typed", input="x"),
        "inference unknown": lambda: inference.inference(inference_id="nope", query=QUERY, input="x"),
    }
    if hasattr(inference, "rerank"):
        made["rerank"] = lambda: inference.rerank(**asked, task_settings=TASK_SETTINGS, timeout="30s")
        if "top_n" in arguments(inference.rerank):
            made["rerank with options"] = lambda: inference.rerank(**asked, top_n=1, return_documents=False)
            made["rerank bad top_n"] = lambda: inference.rerank(**asked, top_n=0)
    if hasattr(inference, "update"):
        change = {"service_settings": {"num_allocations": 2}, "task_settings": TASK_SETTINGS}
        made["update"] = lambda: inference.update(inference_id="typed", inference_config=change)
        made["update with task_type"] = lambda: inference.update(**named, inference_config=change)
        made["update unknown"] = lambda: inference.update(inference_id="nope", inference_config=change)
        if "timeout" in arguments(inference.update):
            made["update with timeout"] = lambda: inference.update(
                **named, inference_config=change, timeout="10s"
            )
        made["inference after update"] = lambda: inference.inference(**asked)
    for name, method in inspect.getmembers(inference, inspect.ismethod):
        if name.startswith("put_") and name != "put_region_policy":
            made[name] = typed_put(name, method, endpoints)
    for task in ("completion", "sparse_embedding", "text_embedding"):
        if hasattr(inference, task):
            made[task] = partial(getattr(inference, task), inference_id="elsewhere", input="x")
    if hasattr(inference, "embedding"):
        made["embedding"] = lambda: inference.embedding(inference_id="elsewhere", embedding={"input": "x"})
    made["delete rehearsed"] = lambda: inference.delete(inference_id="typed", dry_run=True)
    made["delete with task_type"] = lambda: inference.delete(**named)
    made["delete forced"] = lambda: inference.delete(inference_id="untyped", force=True)
    made["delete"] = lambda: inference.delete(inference_id="as-body")
    made["delete unknown"] = lambda: inference.delete(inference_id="as-body")
    return made


def typed_put(name: str, method: Any, endpoints: dict[str, Any]) -> Callable[[], Any]:
    """Return a call of a method `put_…`, for its service or, if that reranks nothing, for another task."""
    service = TYPED.get(name, name.removeprefix("put_"))
    (id_argument,) = (each for each in arguments(method) if each.endswith("_inference_id"))
    task_type = "rerank" if name in TYPED else "text_embedding"
    known = arguments(method)
    settings = endpoints.get(service, {"service_settings": {"model_id": "m"}})
    return lambda: method(
        task_type=task_type,
        service=service,
        **{argument: value for argument, value in settings.items() if argument in known},
        **{id_argument: name.replace("_", "-")},
    )


def main(url: str, model: str, endpoints: dict[str, Any]) -> None:
    # The client's own about methods that are new; those that a server causes are of another kind.
    if hasattr(elasticsearch.exceptions, "GeneralAvailabilityWarning"):
        warnings.simplefilter("ignore", elasticsearch.exceptions.GeneralAvailabilityWarning)
    with elasticsearch.Elasticsearch(url, max_retries=0, request_timeout=60) as client:
        results = {"info": outcome(client.info)}
        for name, call in calls(client.inference, model, endpoints).items():
            results[name] = outcome(call)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
