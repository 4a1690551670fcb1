"""`profile: true`: the final search's profile by the names that native uses, and what reranking took."""

from collections.abc import Sequence
from typing import Final

from proxy.observe.outcome import Applied, Skipped
from proxy.search.answer import rank_docs
from proxy.search.inner.found import Found
from proxy.search.rawjson import Printer, elements, members, text

_NESTED: Final = " #FieldExistsQuery [field=_primary_term]"
"""How the query ends where the mapping has nested documents."""

_Query = dict[str, bytes]


def profiled(
    profile: bytes,
    root: Found,
    outcomes: Sequence[Applied | Skipped],
    windows: rank_docs.Windows,
    printer: Printer,
) -> bytes:
    """The `profile` object of the final answer.

    Native profiles only the final search, whose query it calls ``RankDocsQuery``. Beside its `shards` the
    proxy puts `reranker`: one entry for each reranker of the tree, as in the `X-Rerank` header.

    Args:
        printer: Of the answer, in which `profile` stands at depth 1.
    """
    sections = members(profile)
    shards = [members(shard) for shard in elements(sections["shards"])]
    order = sorted(range(len(shards)), key=lambda at: _shard_order(shards[at]))
    for index, at in enumerate(order):
        docs = [doc for doc in root.docs if (doc.shard_doc or 0) >> 32 == index]
        shards[at]["searches"] = _renamed(
            shards[at]["searches"], rank_docs.printed(root, docs, windows), printer
        )
    sections["shards"] = printer.array([printer.object(shard, 3) for shard in shards], 2)
    if outcomes:
        sections["reranker"] = printer.value([outcome.profile() for outcome in outcomes], 2)
    return printer.object(sections, 1)


def _shard_order(shard: dict[str, bytes]) -> tuple[int, str]:
    """Shards are numbered by their number, then by their index (``ShardId#compareTo``)."""
    return int(shard["shard_id"]), text(shard["index"])


def _renamed(searches: bytes, docs: str, printer: Printer) -> bytes:
    """Give each search's query native's name.

    Args:
        docs: Those of the shard, in braces.
    """
    renamed = []
    for search in map(members, elements(searches)):
        # What follows are the identifiers of documents, which native does not look up.
        query = _rank_docs_query(members(elements(search["query"])[0]), docs, printer, 7)
        search["query"] = printer.array([printer.object(query, 7)], 6)
        renamed.append(printer.object(search, 5))
    return printer.array(renamed, 4)


def _rank_docs_query(query: _Query, docs: str, printer: Printer, depth: int) -> _Query:
    children = [members(child) for child in elements(query.get("children", b"[]"))]
    if text(query["description"]).endswith(_NESTED) and children:
        children[0] = _rank_docs_query(children[0], docs, printer, depth + 2)
        renamed = query | {"description": printer.value(f"+RankDocsQuery{docs}{_NESTED}")}
    else:
        if children:
            children[0] = _named(children[0], "TopQuery", docs, printer)
            children[0].pop("children", None)
        renamed = _named(query, "RankDocsQuery", docs, printer)
    if children:
        printed = [printer.object(child, depth + 2) for child in children]
        renamed["children"] = printer.array(printed, depth + 1)
    return renamed


def _named(query: _Query, name: str, docs: str, printer: Printer) -> _Query:
    return query | {"type": printer.value(name), "description": printer.value(name + docs)}
