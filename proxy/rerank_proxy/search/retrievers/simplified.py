"""The simplified form of `rrf` and `linear`, replaced by what the mappings of the searched indices make of
it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.fusing import FusingRetriever
from rerank_proxy.search.retrievers.retriever import IndexGroup
from rerank_proxy.upstream.protocol import reading
from rerank_proxy.xcontent.target import decode

Mappings = Mapping[str, Any]
"""The answer of `GET /{index}/_mapping`."""


async def expanded(
    root: CompoundRetriever, look_up: Callable[[], Awaitable[Mappings]], index: str | None
) -> CompoundRetriever:
    """Return the tree with retrievers in place of the simplified form.

    Args:
        look_up: Asks for the mappings of the searched indices; only if the tree has that form somewhere.
        index: The expression that names them, as it stands in the path; None for all.

    Raises:
        ElasticsearchError: 400, for indices of another cluster.
    """
    simplified = [
        each for each in root.walk() if isinstance(each, FusingRetriever) and each.query is not None
    ]
    if not simplified:
        return root
    if any(":" in name and not name.startswith("<") for name in decode(index or "").split(",")):
        raise illegal_argument(f"[{simplified[0].TYPE}] cannot specify [query] when querying remote indices")
    mappings = await look_up()
    with reading("[_mapping]"):
        groups = _by_semantic_fields(mappings)
    return root.expanded(groups)


def _by_semantic_fields(mappings: Mappings) -> Sequence[IndexGroup]:
    grouped: dict[frozenset[str], list[str]] = {}
    for index, described in mappings.items():
        grouped.setdefault(frozenset(_semantic_fields(described.get("mappings", {}))), []).append(index)
    if len(grouped) <= 1:
        return [IndexGroup(next(iter(grouped), frozenset()))]
    return [IndexGroup(semantic, tuple(indices)) for semantic, indices in grouped.items()]


def _semantic_fields(mapping: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, field in mapping.get("properties", {}).items():
        if field.get("type") == "semantic_text":
            yield path + name
        yield from _semantic_fields(field, f"{path}{name}.")
