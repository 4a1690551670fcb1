"""The vendors' wires, from their published APIs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tests.support.vendors.double import Asked, Member, Wire

KEY: Final = "sk-very-secret-0123456789"
BEARER: Final = {"Authorization": f"Bearer {KEY}"}

Pairs = Sequence[tuple[Any, Any]]


def texts(value: Any) -> bool:
    """Return whether a value is a list of texts, with at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def objects(*names: str) -> Callable[[Any], bool]:
    """Return a check for a list of objects with exactly these members, which are texts."""

    def check(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(each, dict)
            and set(each) == set(names)
            and all(isinstance(item, str) for item in each.values())
            for each in value
        )

    return check


def positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def no_more_than(limit: int) -> Callable[[Any], bool]:
    return lambda value: texts(value) and len(value) <= limit


def plain(documents: str = "documents", top_n: str = "top_n", returns: str = "return_documents") -> Any:
    """Return a reader of bodies with a query and a list of texts."""

    def asked(body: Mapping[str, Any]) -> Asked:
        return Asked(body["query"], body[documents], body.get(top_n), body.get(returns))

    return asked


def message(status: int, text: str) -> Any:
    return {"message": text, "id": "1"}


def detail(status: int, text: str) -> Any:
    return {"detail": text}


def error_text(status: int, text: str) -> Any:
    return {"error": text, "error_type": "Validation"}


def error_object(status: int, text: str) -> Any:
    return {"error": {"code": status, "message": text, "status": "X"}}


def errors(status: int, text: str) -> Any:
    return {"errors": [{"code": "x", "message": text}], "trace": "1", "status_code": status}


def rows(
    asked: Asked,
    pairs: Pairs,
    score_name: str = "relevance_score",
    text_name: str = "document",
    text: Callable[[str], Any] = lambda each: {"text": each},
    by_default: bool = False,
) -> list[dict[str, Any]]:
    returns = by_default if asked.returns is None else asked.returns
    return [
        {"index": index, score_name: value, **({text_name: text(asked.text(index))} if returns else {})}
        for index, value in pairs
    ]


_COHERE_MEMBERS: Final[Mapping[str, Member]] = {"query": str, "documents": no_more_than(1000)}
_COHERE_OPTIONAL: Final[Mapping[str, Member]] = {
    "top_n": positive,
    "return_documents": bool,
    "max_chunks_per_doc": positive,
}

COHERE_V1: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required=_COHERE_MEMBERS,
    optional={**_COHERE_OPTIONAL, "model": str},
    asked=plain(),
    answer=lambda asked, pairs: {
        "id": "1",
        "results": rows(asked, pairs),
        "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
    },
    refusal=message,
)
COHERE_V2: Final = Wire(
    path="/v2/rerank",
    headers={**BEARER, "Request-Source": "unspecified:elasticsearch"},
    required={**_COHERE_MEMBERS, "model": str},
    optional=_COHERE_OPTIONAL,
    asked=plain(),
    answer=lambda asked, pairs: {
        "id": "1",
        "results": [{"index": index, "relevance_score": value} for index, value in pairs],
        "meta": {"api_version": {"version": "2"}},
    },
    refusal=message,
)
JINA: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required={"model": str, "query": str, "documents": texts},
    optional={"top_n": positive, "return_documents": bool, "truncation": bool},
    asked=plain(),
    answer=lambda asked, pairs: {
        "model": "m",
        "usage": {"total_tokens": 1},
        "results": rows(asked, pairs, text=lambda each: each, by_default=True),
    },
    refusal=detail,
)
VOYAGE: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required={"model": str, "query": str, "documents": no_more_than(1000)},
    optional={"top_k": positive, "return_documents": bool, "truncation": bool},
    asked=plain(top_n="top_k"),
    answer=lambda asked, pairs: {
        "object": "list",
        "data": rows(asked, pairs, text=lambda each: each),
        "model": "m",
        "usage": {"total_tokens": 1},
    },
    refusal=detail,
)


def _google_asked(body: Mapping[str, Any]) -> Asked:
    ignore = body.get("ignoreRecordDetailsInResponse")
    assert [record["id"] for record in body["records"]] == [str(n) for n in range(len(body["records"]))]
    contents = [record["content"] for record in body["records"]]
    return Asked(body["query"], contents, body.get("topN"), None if ignore is None else not ignore)


def _google_answer(asked: Asked, pairs: Pairs) -> Any:
    shows = asked.returns is None or asked.returns
    return {
        "records": [
            {"id": str(index), "score": value, **({"content": asked.text(index)} if shows else {})}
            for index, value in pairs
        ]
    }


GOOGLE: Final = Wire(
    path="/v1/projects/my-project/locations/global/rankingConfigs/default_ranking_config:rank",
    headers={"Authorization": "Bearer access-token-*", "X-Goog-User-Project": "my-project"},
    required={
        "query": str,
        "records": lambda value: objects("id", "content")(value) and len(value) <= 200,
    },
    optional={"model": str, "topN": int, "ignoreRecordDetailsInResponse": bool},
    asked=_google_asked,
    answer=_google_answer,
    refusal=error_object,
)
TEI: Final = Wire(
    path="/rerank",
    headers=BEARER,
    required={"query": str, "texts": no_more_than(32)},
    optional={"return_text": bool, "raw_scores": bool, "truncate": bool, "top_n": positive},
    asked=lambda body: Asked(body["query"], body["texts"], None, body.get("return_text")),
    answer=lambda asked, pairs: rows(asked, pairs, "score", "text", lambda each: each),
    refusal=error_text,
)
AZURE: Final = Wire(
    path="/v1/rerank",
    headers={"Authorization": KEY},
    required={"query": str, "documents": texts},
    optional={"top_n": positive, "return_documents": bool},
    asked=plain(),
    answer=lambda asked, pairs: {"id": "1", "results": rows(asked, pairs), "meta": {}},
    refusal=message,
)
ALIBABA: Final = Wire(
    path="/v3/openapi/workspaces/default/ranker/ops-bge-reranker-larger",
    headers=BEARER,
    required={"query": str, "docs": texts},
    asked=plain("docs"),
    answer=lambda asked, pairs: {
        "request_id": "1",
        "latency": 1.0,
        "usage": {"doc_count": len(pairs)},
        "result": {"scores": [{"index": index, "score": value} for index, value in pairs]},
    },
    refusal=lambda status, text: {"request_id": "1", "code": "InvalidParameter", "message": text},
    ranks=False,
)


def _watsonx_asked(body: Mapping[str, Any]) -> Asked:
    options = body["parameters"].get("return_options", {})
    assert set(body["parameters"]) <= {"truncate_input_tokens", "return_options"}
    assert set(options) <= {"inputs", "top_n", "query"}
    inputs = [each["text"] for each in body["inputs"]]
    return Asked(body["query"], inputs, options.get("top_n"), options.get("inputs"))


WATSONX: Final = Wire(
    path="/ml/v1/text/rerank?version=2024-05-02",
    headers={"Authorization": "Bearer access-token-*"},
    required={"model_id": str, "query": str, "inputs": objects("text"), "project_id": str},
    optional={"parameters": dict},
    asked=_watsonx_asked,
    answer=lambda asked, pairs: {
        "model_id": "m",
        "results": rows(asked, pairs, "score", "input"),
        "created_at": "2024-05-02",
        "input_token_count": 1,
    },
    refusal=errors,
)
NIM: Final = Wire(
    path="/v1/retrieval/nvidia/reranking",
    headers=BEARER,
    required={
        "model": str,
        "query": lambda value: objects("text")([value]),
        "passages": lambda value: objects("text")(value) and len(value) <= 512,
    },
    asked=lambda body: Asked(body["query"]["text"], [each["text"] for each in body["passages"]]),
    answer=lambda asked, pairs: {"rankings": [{"index": index, "logit": value} for index, value in pairs]},
    refusal=error_text,
    ranks=False,
)
VLLM: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required={"query": str, "documents": texts},
    optional={"model": str, "top_n": positive, "return_documents": bool},
    asked=plain(),
    answer=lambda asked, pairs: {
        "id": "1",
        "model": "m",
        "usage": {"total_tokens": 1},
        "results": [
            {"index": index, "document": {"text": asked.text(index)}, "relevance_score": value}
            for index, value in pairs
        ],
    },
    refusal=error_object,
)
INFINITY: Final = Wire(
    path="/rerank",
    headers=BEARER,
    required={"query": str, "documents": texts},
    optional={"model": str, "top_n": positive, "return_documents": bool, "raw_scores": bool},
    asked=plain(),
    answer=lambda asked, pairs: {
        "object": "rerank",
        "results": rows(asked, pairs, text=lambda each: each),
        "model": "m",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
        "id": "1",
        "created": 1,
    },
    refusal=error_object,
)
VLLM_SCORE: Final = Wire(
    path="/score",
    headers=BEARER,
    required={"model": str, "text_1": str, "text_2": texts},
    asked=lambda body: Asked(body["text_1"], body["text_2"]),
    answer=lambda asked, pairs: {
        "id": "1",
        "object": "list",
        "data": [{"index": index, "object": "score", "score": value} for index, value in pairs],
        "usage": {"total_tokens": 1},
    },
    refusal=error_object,
    ranks=False,
)
CONTEXTUAL: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required={"query": str, "documents": texts, "model": str},
    optional={"top_n": positive, "instruction": str},
    asked=plain(),
    answer=lambda asked, pairs: {
        "results": [{"index": index, "relevance_score": value} for index, value in pairs]
    },
    refusal=detail,
)
MIXEDBREAD: Final = Wire(
    path="/v1/rerank",
    headers=BEARER,
    required={"query": str, "input": texts, "model": str},
    optional={"top_k": positive, "return_input": bool},
    asked=plain("input", "top_k", "return_input"),
    answer=lambda asked, pairs: {
        "usage": {"total_tokens": 1},
        "model": "m",
        "data": rows(asked, pairs, "score", "input", lambda each: each),
        "object": "list",
    },
    refusal=lambda status, text: {"status_code": status, "message": text, "details": None},
)
SAGEMAKER: Final = Wire(
    path="/endpoints/my-endpoint/invocations",
    headers={
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/*",
        "X-Amzn-SageMaker-Target-Model": "model.tar.gz",
    },
    required={"query": str, "input": texts},
    optional={"top_n": positive, "return_documents": bool, "task_settings": dict},
    asked=plain("input"),
    answer=lambda asked, pairs: {"rerank": rows(asked, pairs, text_name="text", text=lambda each: each)},
    refusal=lambda status, text: {"Message": text},
)
CUSTOM: Final = Wire(
    path="/score?tenant=acme",
    headers={"X-Api-Key": KEY, "X-Client": "proxy"},
    required={"q": str, "docs": texts, "k": positive, "show": bool, "mode": str},
    asked=lambda body: Asked(body["q"], body["docs"], None, body["show"]),
    answer=lambda asked, pairs: {
        "out": {
            "hits": [
                {"position": index, "relevance": value, "doc": asked.text(index)} for index, value in pairs
            ]
        }
    },
    refusal=error_object,
    ranks=False,
)
