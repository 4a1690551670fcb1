"""What is cut from a pair that is too long. Pure arithmetic on token counts.

Each rule takes the tokens of query and text without special tokens, and the budget: the model's limit less
the special tokens of a pair. It returns how many tokens of each are kept, never more than `budget` together.
"""

from collections.abc import Callable
from typing import Final, Literal

Rule = Callable[[int, int, int], tuple[int, int]]
Truncation = Literal["balanced", "longest_first", "second"]


def balanced(query: int, text: int, budget: int) -> tuple[int, int]:
    """Elasticsearch's rule for Elastic Rerank: both sides may have half of the budget.

    Source: `org.elasticsearch.xpack.ml.inference.nlp.tokenizers.NlpTokenizer`, `Truncate.BALANCED`.
    """
    half = budget // 2
    kept_query = min(query, half) if text > half else min(query, budget - text)
    return kept_query, min(text, budget - kept_query)


def longest_first(query: int, text: int, budget: int) -> tuple[int, int]:
    """The rule of transformers and sentence-transformers: the longer side is cut to the shorter one's size.

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
    """Only the text is cut, as Eland configures it.

    Where the query leaves no room for any text, Elasticsearch refuses the request and the tokenizers
    library too; here `balanced` decides, so that one long query does not cost a page of results.
    """
    if query >= budget:
        return balanced(query, text, budget)
    return query, min(text, budget - query)


RULES: Final[dict[Truncation, Rule]] = {
    "balanced": balanced,
    "longest_first": longest_first,
    "second": second,
}
