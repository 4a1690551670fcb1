"""`error_trace` adds a trace to every error, in the place where Elasticsearch prints it."""

from typing import Any

from rerank_proxy.app.formats.stack_traces import with_stack_traces
from rerank_proxy.errors import Cause, ElasticsearchError

INNER = Cause("illegal_argument_exception", "no such thing")
FAILURE = ElasticsearchError(
    400,
    Cause(
        "status_exception",
        "search failed",
        {"phase": "query", "failed_shards": [{"shard": 0, "reason": INNER.render()}]},
        caused_by=INNER,
        suppressed=(Cause("resource_not_found_exception", "gone", caused_by=INNER),),
    ),
)


def errors(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [found for item in value for found in errors(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if "reason" in value and "type" in value else []
    return own + [found for item in value.values() for found in errors(item)]


def test_every_error_has_one() -> None:
    traced = errors(with_stack_traces(FAILURE.body()))
    assert len(traced) == len(errors(FAILURE.body())) >= 6
    for each in traced:
        assert each["reason"] in each["stack_trace"].splitlines()[0]


def test_place() -> None:
    error = with_stack_traces(FAILURE.body())["error"]
    assert list(error)[-3:] == ["caused_by", "stack_trace", "suppressed"]


def test_text() -> None:
    trace = with_stack_traces(FAILURE.body())["error"]["stack_trace"]
    assert trace == (
        "StatusException: search failed\n"
        "\tat rerank-proxy\n"
        "\tSuppressed: ResourceNotFoundException: gone\n"
        "\t\tat rerank-proxy\n"
        "\tCaused by: java.lang.IllegalArgumentException: no such thing\n"
        "\t\tat rerank-proxy\n"
        "Caused by: java.lang.IllegalArgumentException: no such thing\n"
        "\tat rerank-proxy\n"
    )


def test_nothing_else_changes() -> None:
    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(item) for item in value]
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name != "stack_trace"}
        return value

    body = FAILURE.body()
    assert bare(with_stack_traces(body)) == body
    assert body == FAILURE.body()


def test_errors_that_are_a_string_stay() -> None:
    body = {"error": "Content-Type header [text/plain] is not supported", "status": 406}
    assert with_stack_traces(body) == body
