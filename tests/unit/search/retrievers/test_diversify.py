"""What `diversify` accepts."""

import pytest

from rerank_proxy.search.retrievers.diversify import DiversifyRetriever
from tests.support.retrievers import (
    BASE,
    FILTERS,
    diversify,
    read,
    refusal,
    texts,
)


class TestDiversify:
    def test_every_key(self) -> None:
        options = {"rank_window_size": 20, "size": 4, "query_vector": [1, "0.5"], "type": "MMR", **BASE}
        retriever = read(diversify(**options))
        assert isinstance(retriever, DiversifyRetriever)
        assert (retriever.field, retriever.rank_window_size, retriever.size) == ("v", 20, 4)
        assert (retriever.lambda_, retriever.query_vector) == (0.5, (1.0, 0.5))
        assert retriever.filters == FILTERS

    @pytest.mark.parametrize(("window", "size"), [(20, 10), (4, 4)])
    def test_size(self, window: int, size: int) -> None:
        retriever = read(diversify(rank_window_size=window))
        assert isinstance(retriever, DiversifyRetriever)
        assert retriever.size == size

    def test_other_vectors(self) -> None:
        encoded = read(diversify(query_vector="AAAA"))
        built = read(diversify(query_vector_builder={"lookup": {"id": "1"}}))
        assert isinstance(encoded, DiversifyRetriever)
        assert isinstance(built, DiversifyRetriever)
        assert (encoded.query_vector, encoded.encoded_vector) == (None, "AAAA")
        assert built.query_vector_builder == b'{"lookup": {"id": "1"}}'

    def test_an_unknown_type(self) -> None:
        assert texts(refusal(diversify(type="x"))) == [
            "Failed to build [diversify] after last required field arrived",
            "unknown result diversification type [x]",
        ]
