"""Rules of truncation: what is cut from a pair that is too long. Pure arithmetic on token counts.

Each rule takes the tokens of query and text without special tokens, and the budget: the model's limit less
the special tokens of a pair. It returns how many tokens of each are kept, never more than `budget` together.

Elasticsearch's rules are those of `org.elasticsearch.xpack.ml.inference.nlp.tokenizers.NlpTokenizer`.
"""

from collections.abc import Callable
from typing import Final, Literal

from rerank_proxy.engine.errors import InputTooLargeError

Rule = Callable[[int, int, int], tuple[int, int]]
Truncation = Literal["balanced", "longest_first", "second", "first", "none"]

DEFAULT_TRUNCATION: Final = "balanced"


def balanced(query: int, text: int, budget: int) -> tuple[int, int]:
    """Cut to half of the budget each, where both are long: Elasticsearch's rule for Elastic Rerank."""
    half = budget // 2
    kept_query = min(query, half) if text > half else min(query, budget - text)
    return kept_query, min(text, budget - kept_query)


def longest_first(query: int, text: int, budget: int) -> tuple[int, int]:
    """Cut the longer side to the shorter one's size, as transformers and sentence-transformers do.

    Source: `TruncationStrategy::LongestFirst` of the tokenizers library; an odd token goes to the longer
    side, and to the text when both are equal.
    """
    if query + text <= budget:
        return query, text
    shorter, longer = sorted((query, text))
    if shorter + max(shorter, budget - shorter) > budget:
        shorter, longer = budget // 2, budget - budget // 2
    else:
        longer = budget - shorter
    return (longer, shorter) if query > text else (shorter, longer)


def second(query: int, text: int, budget: int) -> tuple[int, int]:
    """Cut only the text, as Eland configures it.

    If the query leaves no room for any text, Elasticsearch refuses the request, and so does the tokenizers
    library; here `balanced` decides, so that one long query does not cost a page of results.
    """
    if query >= budget:
        return balanced(query, text, budget)
    return query, min(text, budget - query)


def first(query: int, text: int, budget: int) -> tuple[int, int]:
    """Cut only the query: Elasticsearch's default for a model that says nothing.

    Raises:
        InputTooLargeError: The text alone is too long.
    """
    if text > budget:
        raise InputTooLargeError(
            "Attempting truncation [first] but input is too large for the second sequence. The tokenized "
            f"input length [{text}] exceeds the maximum sequence length [{budget}], when taking special "
            "tokens into account"
        )
    return min(query, budget - text), text


def none(query: int, text: int, budget: int) -> tuple[int, int]:
    """Cut nothing.

    Raises:
        InputTooLargeError: Both together are too long.
    """
    if query + text > budget:
        raise InputTooLargeError(
            f"Input too large. The tokenized input length [{query + text}] exceeds the maximum sequence "
            f"length [{budget}], when taking special tokens into account"
        )
    return query, text


RULES: Final[dict[Truncation, Rule]] = {
    "balanced": balanced,
    "longest_first": longest_first,
    "second": second,
    "first": first,
    "none": none,
}
