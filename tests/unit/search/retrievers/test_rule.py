"""What `rule` accepts."""

from rerank_proxy.search.retrievers.rule import RuleRetriever
from tests.support.retrievers import (
    BASE,
    FILTERS,
    read,
    refusal,
    rule,
    texts,
)


class TestRule:
    def test_every_key(self) -> None:
        retriever = read(rule(rank_window_size=3, **BASE))
        assert isinstance(retriever, RuleRetriever)
        assert (retriever.ruleset_ids, retriever.match_criteria) == (b'["r"]', b'{"a": "b"}')
        assert (retriever.rank_window_size, retriever.filters, retriever.name) == (3, FILTERS, "n")

    def test_missing_keys(self) -> None:
        assert texts(refusal({"rule": {}}))[0] == "Required [ruleset_ids, match_criteria, retriever]"
