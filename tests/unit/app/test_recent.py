"""What the status page is told of the last requests: what became of them, and nothing that a caller sent."""

import pytest

from rerank_proxy.app.recent import MOST, Recent
from rerank_proxy.http import handover
from rerank_proxy.http.messages import Response
from rerank_proxy.observe.outcome import HEADER, Applied, Skipped, Tree

APPLIED = Applied("e", "m", 10, 8, 3, 1, 12.3, "text")


def shown(target: str, response: Response) -> dict[str, object]:
    recent = Recent(lambda: 1.5)
    recent.add(target, response, 0.25)
    (only,) = recent.shown()
    return only


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/secret-index/_search?q=secret", "search"),
        ("/secret-index/_msearch", "msearch"),
        ("/secret/_search/template", "search template"),
        ("/_msearch/template", "msearch template"),
        ("/secret/_async_search", "async search"),
        ("/_inference/rerank/secret", "inference"),
        ("/_ml/trained_models/secret", "trained models"),
        ("/secret", "other"),
    ],
)
def test_kinds_without_names(target: str, kind: str) -> None:
    told = shown(target, Response(200))
    assert told["kind"] == kind
    assert "secret" not in str(told)
    assert told["at"] == "1970-01-01T00:00:01.500+00:00"
    assert (told["status"], told["took_ms"], told["outcome"], told["error"]) == (200, 250.0, None, None)


def test_outcomes() -> None:
    tree = Tree((APPLIED, Skipped("f", "status_exception"), APPLIED))
    told = shown("/_search", Response(200, [(HEADER, tree.header())]))
    assert (told["outcome"], told["endpoint"]) == ("skipped", "e, f")
    told = shown("/_search", Response(200, [(HEADER, APPLIED.header())]))
    assert (told["outcome"], told["endpoint"]) == ("applied", "e")


def test_errors() -> None:
    assert shown("/_search", Response(404))["error"] == "by Elasticsearch"
    failed = Response(429, [(handover.REASON, "es_rejected_execution_exception")])
    assert shown("/_search", failed)["error"] == "es_rejected_execution_exception"


def test_what_is_upstreams_is_not_told_and_the_oldest_give_way() -> None:
    recent = Recent()
    recent.add("/_search", Response(handover.PASSED_ON), 0.1)
    assert recent.shown() == []
    for status in range(200, 200 + MOST + 1):
        recent.add("/_search", Response(status), 0.1)
    assert [each["status"] for each in recent.shown()] == [*range(200 + MOST, 200, -1)]
