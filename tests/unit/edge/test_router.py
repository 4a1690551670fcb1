import pytest

from rerank_proxy.async_search_id import new_id
from rerank_proxy.edge.router import (
    follows_up,
    is_for_application,
    is_inference,
    is_more_than_relayed,
    is_other_inference,
    is_search,
    names_node_addresses,
    query_of,
)


@pytest.mark.parametrize(
    "target",
    [
        b"/_search",
        b"/_search/",
        b"/_search?",
        b"/i/_search",
        b"/i/_search/?q=1",
        b"/a,b*,-c/_search?x",
        b"/%3Clogs-%7Bnow%2Fd%7D%3E/_search",
        b"/_msearch",
        b"/i/_msearch",
        b"/_search/template",
        b"/i/_search/template/",
        b"/_msearch/template",
        b"/i/_msearch/template?y",
        b"_search",
        b"i/_search",
        b"/i/_search//",
        b"//_search",
        b"//_search/template//",
        b"//_msearch?x",
        b"/i/_search#/_flush",
        b"/i/_search/#?y",
        b"/caf\xe9/_search",
        b"/i%0a/_search",
        b"/../_search",
    ],
)
def test_search_endpoints(target: bytes) -> None:
    assert is_search(b"POST", target)
    assert is_search(b"GET", target)
    assert is_for_application(b"GET", target, trained_models=False)
    assert not is_search(b"PUT", target)
    assert not is_search(b"DELETE", target)
    assert not is_search(b"HEAD", target)


@pytest.mark.parametrize("target", [b"/_async_search", b"/i/_async_search/?wait_for_completion_timeout=1s"])
def test_only_a_posted_async_search_is_one(target: bytes) -> None:
    assert is_search(b"POST", target)
    assert is_for_application(b"POST", target, trained_models=False)
    assert not is_search(b"GET", target)


@pytest.mark.parametrize("path", ["/_async_search/", "/_async_search/status/"])
def test_what_follows_up_on_a_search_of_the_application(path: str) -> None:
    target = f"{path}{new_id()}?keep_alive=1d".encode()
    for method in (b"GET", b"DELETE"):
        assert follows_up(method, target)
        assert is_search(method, target)
        assert is_for_application(method, target, trained_models=False)
    for method in (b"POST", b"PUT", b"HEAD"):
        assert not follows_up(method, target)
        assert not is_search(method, target)


@pytest.mark.parametrize(
    "target",
    [
        b"/_async_search/FmRldE8zREVEUzA2ZVpUeGs2ejJFUFEaMkZ5QTVrSTZSaVN3WlNFVmtlWHJsdzoxMDc=",
        b"/_async_search/status/FmRldE8zREVEUzA2ZVpUeGs2ejJFUFEaMkZ5QTVrSTZSaVN3WlNFVmtlWHJsdzoxMDc%3D",
    ],
)
def test_searches_that_elasticsearch_keeps_are_not_followed(target: bytes) -> None:
    for method in (b"GET", b"DELETE"):
        assert not follows_up(method, target)
        assert not is_search(method, target)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/_search/scroll",
        b"/i/_search/scroll",
        b"/_async_search/abc",
        b"/_async_search/status/abc",
        b"//i/_search",
        b"///_search",
        b"/_flush#/_search",
        b"/i/_close#/_search",
        b"/i#/_search",
        b"/i//_search",
        b"/i/../i/_search",
        b"/i/j/_search",
        b"/%5Fsearch",
        b"/_SEARCH",
        b"/i/_searching",
        b"/i/_doc/_search",
        b"/i/x_search",
        b"/i?x=/_search",
        b"/_application/search_application/a/_search",
        b"http://h/_search",
        b"*",
    ],
)
def test_other_targets(target: bytes) -> None:
    assert not is_search(b"POST", target)
    assert not is_search(b"GET", target)


@pytest.mark.parametrize(
    "target",
    [
        b"/_inference",
        b"/_inference/",
        b"/_inference?pretty",
        b"/_inference/_all",
        b"/_inference/mine",
        b"/_inference/mine/?pretty",
        b"/_inference/rerank/mine",
        b"/_inference/rerank/a%2Fb?timeout=5s",
        b"/_inference/mine/_update",
        b"/_inference/rerank/mine/_stream",
        b"/_inference/_services/rerank",
        b"/_inference/_services",
        b"/_inference/_all?pretty",
        b"/_inference/.diagnostics-of-mine",
        b"/_inference/rerank/_region_policy",
        b"/_inference/text_embedding",
        b"/_inference/text_embeddings/mine",
        b"/_inference/text_embedding?x=/",
        b"/_inference#/text_embedding/x",
        b"_inference/x",
    ],
)
def test_inference(target: bytes) -> None:
    for method in (b"GET", b"PUT", b"POST", b"DELETE"):
        assert is_inference(method, target)
        assert is_for_application(method, target, trained_models=False)
    for method in (b"HEAD", b"OPTIONS", b"PATCH", b"get"):
        assert not is_inference(method, target)
        assert not is_for_application(method, target, trained_models=False)
    assert not is_other_inference(target)


@pytest.mark.parametrize(
    "task_type",
    ["text_embedding", "sparse_embedding", "embedding", "completion", "chat_completion"],
)
def test_inference_of_other_tasks(task_type: str) -> None:
    for rest in ("", "mine", "mine/_stream", "_all?pretty"):
        target = f"/_inference/{task_type}/{rest}".encode()
        assert is_inference(b"POST", target)
        assert is_other_inference(target)


@pytest.mark.parametrize(
    "target",
    [
        b"/_inferences",
        b"/_inference-x",
        b"//_inference/x",
        b"/i/_inference/x",
        b"/_INFERENCE/x",
        b"/_inference/_region_policy",
        b"/_inference/_region_policy/?force",
        b"/_inference/_ccm",
        b"_inference/_stats#x",
        b"/_inference/_alls",
        b"/_inference/_services_x/rerank",
        b"/_inference/.diagnostics",
        b"/_inference/.diagnostics/",
    ],
)
def test_what_is_not_an_inference(target: bytes) -> None:
    assert not is_inference(b"POST", target)
    assert not is_other_inference(target)


def test_query() -> None:
    assert query_of(b"/a?b=c?d#e") == b"b=c?d#e"
    assert query_of(b"/a") == b""


@pytest.mark.parametrize(
    "target", [b"/_ml/trained_models", b"/_ml/trained_models?size=1", b"/_ml/trained_models/a/_infer"]
)
def test_trained_models_where_clients_may_upload_them(target: bytes) -> None:
    for method in (b"GET", b"PUT", b"POST", b"DELETE"):
        assert is_for_application(method, target, trained_models=True)
        assert not is_for_application(method, target, trained_models=False)
    assert not is_for_application(b"OPTIONS", target, trained_models=True)
    assert not is_for_application(b"GET", target.replace(b"trained", b"strained"), trained_models=True)


def test_only_nodes_that_are_got_name_addresses() -> None:
    assert names_node_addresses(b"GET", b"/_nodes")
    assert is_more_than_relayed(b"/_nodes")
    assert not names_node_addresses(b"POST", b"/_nodes/reload_secure_settings")
    assert not names_node_addresses(b"GET", b"/_node")
    assert not is_more_than_relayed(b"/i/_doc/1")
