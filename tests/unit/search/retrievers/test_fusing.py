"""Fields of the simplified form."""

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.retrievers.fusing import parse_field_weights


def test_names_and_weights() -> None:
    assert parse_field_weights(["a", "b^2", "c*^0.1"]) == {"a": 1.0, "b": 2.0, "c*": 0.10000000149011612}


def test_one_named_twice_is_multiplied() -> None:
    assert parse_field_weights(["a^3", "b", "a^0.5", "a"]) == {"a": 1.5, "b": 1.0}


@pytest.mark.parametrize("field", ["a^", "a^b", "a^1^2"])
def test_weights_are_numbers(field: str) -> None:
    with pytest.raises(ElasticsearchError) as raised:
        parse_field_weights([field])
    assert (raised.value.status, raised.value.cause.type) == (400, "number_format_exception")
