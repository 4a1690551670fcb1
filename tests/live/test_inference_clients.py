"""Versions of elasticsearch-py through the whole proxy: their methods for inference endpoints."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from testbed.proxy import RunningProxy
from tests.clients.environments import CLIENTS, python_with_client
from tests.clients.inference_calls import TYPED
from tests.live.conftest import ENDPOINT, VENDOR
from tests.support.inference import ONLY_RERANK
from tests.support.raw_http import TIMEOUT_S
from tests.support.vendors.cases import CASES

pytestmark = pytest.mark.every_version

SCRIPT: Final = Path(__file__).parents[1] / "clients" / "inference_calls.py"
LOCAL: Final = {"model_id": "minilm", "num_threads": 1, "num_allocations": 1}
SERVICES: Final = {
    "elasticsearch": {"service_settings": LOCAL},
    **{
        case.service: {
            "service_settings": case.settings(f"http://{VENDOR}"),
            "task_settings": case.task_settings,
        }
        for case in CASES
    },
}
SECRETS: Final = {case.secret for case in CASES}


def stored(inference_id: str, allocations: int = 1, *, returns: bool = True) -> dict[str, Any]:
    return {
        "inference_id": inference_id,
        "task_type": "rerank",
        "service": "elasticsearch",
        "service_settings": {"num_allocations": allocations, "num_threads": 1, "model_id": "minilm"},
        "task_settings": {"return_documents": returns},
    }


def refused(raised: str, status: int, type_: str, reason: str) -> dict[str, Any]:
    return {"raised": raised, "status": status, "type": type_, "reason": reason}


@pytest.fixture
def called(proxy: RunningProxy, client: str) -> dict[str, Any]:
    """Return what each call gave. Warnings, such as those of a `Warning` header, end the program."""
    python = python_with_client(client).made() / "bin" / "python"
    command = [*map(str, (python, "-W", "error", SCRIPT)), proxy.server.url, "minilm", json.dumps(SERVICES)]
    for endpoint in proxy.server.call("GET", "/_inference").json()["endpoints"]:  # of another version
        proxy.server.call("DELETE", f"/_inference/{endpoint['inference_id']}?force=true")
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    results: dict[str, Any] = json.loads(run.stdout)
    assert not any(secret in run.stdout for secret in SECRETS)
    return results


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", CLIENTS)
def test_every_method(called: dict[str, Any], client: str) -> None:
    assert called["info"]["version"]["number"].partition(".")[0] == client.partition(".")[0]
    check_methods(called, client)
    check_made(called)
    check_read(called, client)
    check_run(called)
    check_changed(called)
    check_typed(called)
    check_deleted(called)


def check_methods(called: dict[str, Any], client: str) -> None:
    """So that none is left out unnoticed."""
    version = tuple(map(int, client.split(".")[:2]))
    assert ("update" in called) is (version >= (8, 17))
    assert ("rerank" in called) is (version >= (8, 19))
    assert ("rerank with options" in called) is (version >= (9, 5))
    typed = [name for name in called if name in TYPED]
    assert len(typed) == {"8.15.1": 0, "8.17.2": 0, "8.19.3": 11, "9.1.3": 11, "9.5.1": 14}[client]


def check_made(called: dict[str, Any]) -> None:
    assert called["put"] == stored("typed")
    assert called["put without task_type"] == stored("untyped", returns=False)
    assert called["put as body"] == stored("as-body")
    reason = "Inference endpoint [typed] already exists"
    assert called["put again"] == refused("BadRequestError", 400, "resource_already_exists_exception", reason)
    bad = called["put bad id"]
    assert (bad["status"], bad["type"]) == (400, "action_request_validation_exception")
    assert "Invalid inference_id; 'x y/z' can contain lowercase alphanumeric" in bad["reason"]
    unknown = called["put unknown service"]
    assert (unknown["status"], unknown["type"]) == (400, "status_exception")
    assert unknown["reason"].startswith(f"Unknown service [nope]: {ONLY_RERANK}; the services here are [")


def check_read(called: dict[str, Any], client: str) -> None:
    made = ["as-body", "typed", "untyped"]
    for name in ("get all", "get wildcard", "get task_type"):
        listed = [each["inference_id"] for each in called[name]["endpoints"]]
        assert listed == [ENDPOINT, *made], client
    for name in ("get", "get with task_type"):
        assert called[name] == {"endpoints": [stored("typed")]}
    assert called["get with all options"] == {"endpoints": [{"inference_id": "typed"}]}
    reason = "Inference endpoint not found [x y/z]"
    assert called["get unknown"] == refused("NotFoundError", 404, "resource_not_found_exception", reason)
    reason = "Requested task type [completion] does not match the inference endpoint's task type [rerank]"
    assert called["get other task_type"] == refused("BadRequestError", 400, "status_exception", reason)


def check_run(called: dict[str, Any]) -> None:
    ranked = called["inference"]["rerank"]
    assert ranked[0]["index"] == 1
    assert ranked[0]["text"] == "A cannibal helps to catch a killer."
    assert [doc["relevance_score"] for doc in ranked] == sorted(
        (doc["relevance_score"] for doc in ranked), reverse=True
    )
    bare = [{"index": doc["index"], "relevance_score": doc["relevance_score"]} for doc in ranked]
    assert called["inference with task_type"] == {"rerank": bare}
    assert called["inference as body"] == {"rerank": bare[:1]}
    assert called["inference without query"] == refused(
        "BadRequestError", 400, "illegal_argument_exception", "Required [query]"
    )
    assert called["inference unknown"]["reason"] == "Inference endpoint not found [nope]"
    if "rerank" in called:
        assert called["rerank"] == {"rerank": bare}
    if "rerank with options" in called:
        assert called["rerank with options"] == {"rerank": bare[:1]}
        reason = "Validation Failed: 1: Field [top_n] must be greater than or equal to 1;"
        assert called["rerank bad top_n"] == refused(
            "BadRequestError", 400, "action_request_validation_exception", reason
        )


def check_changed(called: dict[str, Any]) -> None:
    for name in ("update", "update with task_type", "update with timeout"):
        if name in called:
            assert called[name] == stored("typed", 2, returns=False)
    if "update" in called:
        assert all("text" not in doc for doc in called["inference after update"]["rerank"])
        reason = "The inference endpoint [nope] does not exist and cannot be updated"
        assert called["update unknown"] == refused(
            "NotFoundError", 404, "resource_not_found_exception", reason
        )


def check_typed(called: dict[str, Any]) -> None:
    """Methods of services that rerank make endpoints of ours, all others are refused."""
    puts = {name: made for name, made in called.items() if name.startswith("put_")}
    refusals = {name: made for name, made in puts.items() if "raised" in made}
    assert refusals.keys() == puts.keys() - TYPED.keys()
    for made in refusals.values():
        assert (made["raised"], made["type"]) == ("BadRequestError", "status_exception")
        assert made["reason"].endswith(ONLY_RERANK) or made["reason"].startswith("Unknown service [")
        assert ONLY_RERANK in made["reason"]
    for name in puts.keys() & TYPED.keys():
        made = puts[name]
        assert (made["inference_id"], made["task_type"]) == (name.replace("_", "-"), "rerank")
        assert made["service"] == TYPED[name]
    for task in ("completion", "sparse_embedding", "text_embedding", "embedding"):
        if task in called:
            reason = f"Inference endpoint not found [elsewhere]: {ONLY_RERANK}"
            assert called[task]["reason"] == reason


def check_deleted(called: dict[str, Any]) -> None:
    gone = {"acknowledged": True, "pipelines": [], "indexes": []}
    assert called["delete rehearsed"] == {**gone, "acknowledged": False, "error_message": ""}
    for name in ("delete with task_type", "delete forced", "delete"):
        assert called[name] == gone
    assert called["delete unknown"] == refused(
        "NotFoundError", 404, "resource_not_found_exception", "Inference endpoint not found [as-body]"
    )
