"""The `fields` of the simplified form: names with weights, `title^2`."""

from collections.abc import Iterable

import numpy as np

from rerank_proxy.xcontent.object_parser import java_number


def parse_field_weights(fields: Iterable[str]) -> dict[str, float]:
    """Names and patterns with their weight, 1 by default; the weights of one named twice are multiplied
    (``QueryParserHelper#parseFieldsAndWeights``).

    Raises:
        ElasticsearchError: 400, when a weight is no number.
    """
    weights: dict[str, float] = {}
    for field in fields:
        name, caret, text = field.partition("^")
        weight = np.float32(java_number(text) if caret else 1)
        weights[name] = float(weight * np.float32(weights.get(name, 1)))
    return weights
