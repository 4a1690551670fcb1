"""What native finds wrong when it rewrites the tree: after validation, and before any search runs.

Each is an unwrapped 400, and the first one ends the request. Children come before their parents.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.language.field_weights import parse_field_weights
from rerank_proxy.search.language.leaf_grammar import MAX_NUM_CANDIDATES
from rerank_proxy.search.language.retrievers import (
    CompoundRetriever,
    FusingRetriever,
    KnnRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedDoc,
    PinnedRetriever,
    Retriever,
    RuleRetriever,
    StandardRetriever,
    TextSimilarityReranker,
)
from rerank_proxy.xcontent.object_parser import java_float
from rerank_proxy.xcontent.splicing import elements, members

MAX_NUM_PINNED_HITS: Final = 100


def check_rewrite(retriever: CompoundRetriever, inherited: tuple[bytes, ...] = ()) -> None:
    """``CompoundRetrieverBuilder#rewrite``, as far as it refuses requests.

    Args:
        inherited: The filters of the parents.

    Raises:
        ElasticsearchError: 400.
    """
    filters = (*inherited, *retriever.filters)
    if isinstance(retriever, FusingRetriever):
        _check_fields(retriever)
    for child in retriever.children:
        if isinstance(child, StandardRetriever):
            _check_standard(child)
        elif isinstance(child, KnnRetriever):
            _check_knn(child)
        else:
            check_rewrite(child, filters)
    if isinstance(retriever, TextSimilarityReranker) and retriever.chunk_rescorer is not None:
        retriever.chunk_rescorer.check()
    if isinstance(retriever, PinnedRetriever):
        _check_pinned(retriever, filters)
    elif isinstance(retriever, RuleRetriever):
        _check_rule(retriever)
    elif (
        isinstance(retriever, LinearRetriever) and retriever.min_score is not None and retriever.min_score < 0
    ):
        raise _refused(
            f"[min_score] must be greater than or equal to 0, was: [{java_float(retriever.min_score)}]"
        )


def _refused(reason: str) -> ElasticsearchError:
    return error(400, "illegal_argument_exception", reason)


def _check_standard(retriever: StandardRetriever) -> None:
    """``StandardRetrieverBuilder#extractToSearchSourceBuilder`` below a compound retriever."""
    for option in ("search_after", "terminate_after"):
        if getattr(retriever, option):
            raise _refused(f"[{option}] cannot be used in children of compound retrievers")


def _check_knn(retriever: KnnRetriever) -> None:
    """The constructor of ``KnnSearchBuilder``."""
    if retriever.k < 1:
        raise _refused("[k] must be greater than 0")
    if retriever.num_candidates < retriever.k:
        raise _refused("[num_candidates] cannot be less than [k]")
    if retriever.num_candidates > MAX_NUM_CANDIDATES:
        raise _refused(f"[num_candidates] cannot exceed [{MAX_NUM_CANDIDATES}]")
    visited = retriever.visit_percentage
    if visited is not None and not 0 <= visited <= 100:
        raise _refused("[visit_percentage] must be between 0 and 100")


def _check_fields(retriever: FusingRetriever) -> None:
    if any(weight < 0 for weight in parse_field_weights(retriever.fields or ()).values()):
        raise _refused(f"[{retriever.TYPE}] per-field weights must be non-negative")


def _check_pinned(retriever: PinnedRetriever, filters: tuple[bytes, ...]) -> None:
    """``PinnedRetrieverBuilder#finalizeSourceBuilder`` and the constructor of ``PinnedQueryBuilder``."""
    for criterion in _criteria(retriever.child):
        if _sorted_by(criterion) not in ("_score", "_shard_doc"):
            raise _refused(
                "[pinned] retriever only supports sorting by score, "
                f"invalid sort criterion: {criterion.decode(errors='replace')}"
            )
    if not _has_query(retriever.child, filters):
        raise _refused("pinned retriever requires retriever with associated query")
    _check_pins(retriever)


def _check_pins(retriever: PinnedRetriever) -> None:
    docs, key = retriever.docs, retriever.key
    if len(docs) > MAX_NUM_PINNED_HITS:
        raise _refused(f"[pinned] Max of {MAX_NUM_PINNED_HITS} {key} exceeded: {len(docs)} provided.")
    for doc, count in Counter(docs).items():
        if count > 1:
            shown = doc.id if key == "ids" else _pretty(doc)
            raise _refused(f"[pinned] duplicate {key.removesuffix('s')} found in list: {shown}")


def _pretty(doc: PinnedDoc) -> str:
    """As ``Strings#toString`` prints with its blanks."""
    members = {} if doc.index is None else {"_index": doc.index}
    members["_id"] = doc.id
    return json.dumps(members, indent=2, separators=(",", " : "), ensure_ascii=False)


def _check_rule(retriever: RuleRetriever) -> None:
    """``QueryRuleRetrieverBuilder#checkValidSort``, which looks at the first criterion only."""
    criteria = list(_criteria(retriever.child))
    if criteria and _sorted_by(criteria[0]) != "_score":
        shown = b", ".join(criteria).decode(errors="replace")
        raise _refused(f"[rule] retriever only supports sort by score, got: [{shown}]")


def _has_query(child: Retriever, filters: tuple[bytes, ...]) -> bool:
    """Whether the search of a child has a `query`: that of a vector search has a `knn` section instead."""
    if isinstance(child, StandardRetriever):
        return bool(child.query is not None or child.filters or filters)
    return not isinstance(child, LeafRetriever)


def _criteria(child: Retriever) -> Iterator[bytes]:
    """The criteria of a child's `sort`, one key each."""
    sort = child.sort if isinstance(child, StandardRetriever) else None
    if sort is None:
        return
    for item in elements(sort) if sort.startswith(b"[") else [sort]:
        if item.startswith(b"{"):
            yield from (
                b"{%s:%s}" % (json.dumps(key).encode(), value) for key, value in members(item).items()
            )
        else:
            yield item


def _sorted_by(criterion: bytes) -> str:
    value = json.loads(criterion)
    return str(next(iter(value)) if isinstance(value, dict) else value)
