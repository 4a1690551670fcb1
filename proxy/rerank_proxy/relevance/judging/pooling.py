"""Make the pool of a judging: every system is asked every query, a few searches at a time."""

import asyncio
from collections.abc import Mapping, Sequence

from rerank_proxy.relevance.client.searching import RefusedError, Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.growing import LineFile
from rerank_proxy.relevance.judging.pool import Pooled, pooled
from rerank_proxy.relevance.judging.workspace import Workspace
from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.progress import Progress
from rerank_proxy.relevance.systems import System
from rerank_proxy.relevance.workers import work_on


async def make_pool(
    workspace: Workspace,
    queries: Mapping[str, Query],
    systems: Sequence[System],
    searcher: Searcher,
    progress: Progress,
) -> None:
    """Pool the queries that are not pooled yet. Each is kept as soon as all systems have answered it, so that
    what is interrupted goes on where it was.

    Raises:
        RelevanceError: The server refuses a search or cannot be reached, a reranker does not rerank, the pool
            belongs to other queries, or it cannot be written.
    """
    with workspace.pool_file() as file:
        missing = _missing(workspace, queries, file)
        progress("pooling", len(file.lines), len(queries))

        async def pool(query: Query) -> None:
            made = await _pooled(workspace, query, systems, searcher)
            async with turn:
                await asyncio.to_thread(file.add, [made])
            progress("pooling", len(file.lines), len(queries))

        turn = asyncio.Lock()
        await work_on(missing, pool, searcher.concurrency)


def _missing(workspace: Workspace, queries: Mapping[str, Query], file: LineFile[Pooled]) -> list[Query]:
    """Return the queries that are not in the pool yet."""
    known = {each.query: each.text for each in file.lines}
    for name, text in known.items():
        if name not in queries or queries[name].text != text:
            raise RelevanceError(
                f"{workspace.path}: the pool has a query {name!r} that is not in the file, or reads "
                "otherwise there; take the former file, or another directory"
            )
    return [query for name, query in queries.items() if name not in known]


async def _pooled(
    workspace: Workspace, query: Query, systems: Sequence[System], searcher: Searcher
) -> Pooled:
    plan = workspace.plan
    found: dict[str, Sequence[str]] = {}
    for system in systems:
        where = f"{system.name}, query {query.id}"
        try:
            answer = await searcher.search(plan.index, system.body(query.text, plan.depth))
        except RefusedError as error:
            raise RelevanceError(f"{where}: {searcher.url} {error}") from None
        if answer.skipped is not None:
            raise RelevanceError(
                f"{where}: was not reranked: {answer.skipped}; the same command goes on from here"
            )
        found[system.name] = [hit.id for hit in answer.hits]
    return pooled(query.id, query.text, found, plan.depth)
