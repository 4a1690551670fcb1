"""Run the command `judge pool`: options to a plan, and the plan to a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from rerank_proxy.cli.judging import failing, run
from rerank_proxy.cli.output import print_line, print_table
from rerank_proxy.cli.progress import Bars
from rerank_proxy.cli.proxy_options import ProxyOptions
from rerank_proxy.cli.searcher import searcher_of
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.reading import read_queries
from rerank_proxy.relevance.judging.pooling import make_pool
from rerank_proxy.relevance.judging.workspace import SCALE, Plan, Workspace, check_name
from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.systems import System, Wanted, systems_of

_MAX_GRADES: Final = 10


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """The options of the command, by the names of its parameters."""

    directory: Path
    queries: Path
    index: str
    systems: Sequence[str]
    endpoints: Sequence[str]
    field: str | None
    window: int
    first_stage: str | None
    depth: int
    concurrency: int
    fields: tuple[str, ...]
    judges: tuple[str, ...]
    shared: float
    meanings: Mapping[str, str]
    seed: int


def pool_command(options: PoolOptions, proxy: ProxyOptions) -> None:
    """Make the pool of a directory."""
    with failing():
        queries = read_queries(options.queries)
        systems = systems_of(
            Wanted(options.systems, options.endpoints, options.field, (options.window,), options.first_stage)
        )
        for name in options.judges:
            check_name(name)
        plan = _plan(options, queries, systems)
        workspace = Workspace.made(options.directory, plan)

    async def work(searcher: Searcher) -> None:
        with Bars() as progress:
            await make_pool(workspace, queries, systems, searcher, progress)

    run(work, lambda: searcher_of(proxy, concurrency=options.concurrency), options.directory)
    with failing():
        _print_pool(workspace, proxy.url)


def _plan(options: PoolOptions, queries: Mapping[str, Query], systems: Sequence[System]) -> Plan:
    return Plan(
        index=options.index,
        fields=options.fields,
        systems={system.name: dict(system.template.body) for system in systems},
        depth=options.depth,
        seed=options.seed,
        scale=_scale(options.meanings),
        judges=options.judges,
        shared=options.shared,
        queries=len(queries),
    )


def _scale(meanings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the scale, with what is said of some of its grades in place of the default."""
    known = {str(grade): words for grade, words in enumerate(SCALE)}
    scale = {**known, **meanings}
    if [*scale] != [str(grade) for grade in range(len(scale))] or len(scale) > _MAX_GRADES:
        raise RelevanceError(f"--grade: grades are numbers from 0 to {_MAX_GRADES - 1}, without a gap")
    return tuple(scale.values())


def _print_pool(workspace: Workspace, url: str | None) -> None:
    pools = workspace.pool().values()
    documents = sum(len(pool.documents) for pool in pools)
    print_line(f"{documents} documents to judge for {len(pools)} queries, in {workspace.path}")
    table = Table("system", "hits", "found by no other")
    for name in workspace.plan.systems:
        shares = [pool.systems[name] for pool in pools]
        table.add_row(
            printable(name), str(sum(each.hits for each in shares)), str(sum(each.alone for each in shares))
        )
    print_table(table)
    where = "" if url is None else f" --url {url}"
    for name in workspace.plan.judges or ("NAME",):
        print_line(f"next: rerank-proxy judge open {workspace.path} --as {name}{where}")
