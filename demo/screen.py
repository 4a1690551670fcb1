"""Print the results of the demo."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.films import INDEX, QUESTION, RERANKED, Film, Search, curl_command
from demo.serving import ENDPOINT, MODEL_NAME, Serving
from testbed import RunningElasticsearch

_NARROW = 82
"""The width of the table without the plots."""


def show_setup(console: Console, elasticsearch: RunningElasticsearch, proxy: Serving) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("Elasticsearch", f"{elasticsearch.version} at {elasticsearch.url}: {elasticsearch.origin}")
    grid.add_row(
        "rerank-proxy", f"at {proxy.server.url}; playground, probes and metrics at {proxy.admin.url}"
    )
    grid.add_row(
        "model",
        f"{MODEL_NAME}, a small bi-encoder that is distributed as a Python package. The demo maps the "
        f"default endpoint {ENDPOINT} to it. It is not Elastic Rerank: its scores are cosines, plus 1.",
    )
    console.print()
    console.print(grid)


def show_comparison(console: Console, plain: Search, reranked: Search) -> None:
    console.print()
    console.print(_table(console.width - _NARROW, plain, reranked))
    grid = Table.grid(padding=(0, 2))
    grid.add_row("took", f"plain {1e3 * plain.took_s:.1f} ms, reranked {1e3 * reranked.took_s:.1f} ms")
    grid.add_row("X-Rerank", reranked.outcome or "the answer has no such header")
    console.print(grid)


def show_how_to_try(console: Console, elasticsearch: RunningElasticsearch, proxy: Serving) -> None:
    for title, lines in (
        ("With curl", curl_command(proxy.server)),
        ("With Python", python_command(elasticsearch, proxy)),
    ):
        console.print(f"\n[bold]{title}[/]")
        console.print(lines, highlight=False, markup=False, soft_wrap=True)
    console.print("\n[bold]In a browser[/]")
    console.print(
        f"The playground, with this search in it:\n{playground_address(proxy)}",
        highlight=False,
        soft_wrap=True,
    )
    console.print("\nServing until Ctrl-C.", highlight=False)


def playground_address(proxy: Serving) -> str:
    """Return the address of the playground, with the reference search filled in."""
    search = {"index": INDEX, "field": "plot", "a": ENDPOINT, "query": QUESTION, "words": "crime"}
    return f"{proxy.admin.url}/#{urlencode({**search, 'fields': 'plot,genre'})}"


def python_command(elasticsearch: RunningElasticsearch, proxy: Serving) -> str:
    user = ', basic_auth=("USER", "PASSWORD")' if proxy.server.authorization else ""
    program = (
        "from elasticsearch import Elasticsearch; "
        f'client = Elasticsearch("{proxy.server.url}"{user}); '
        f'answer = client.search(index="{INDEX}", retriever={json.dumps(RERANKED)}); '
        'print(*[hit["_source"]["title"] for hit in answer["hits"]["hits"]], sep="\\n")'
    )
    note = ""
    if elasticsearch.major < 9:
        note = f"# with elasticsearch-py {elasticsearch.major}: a newer client refuses an older server\n"
    return f"{note}{_interpreter()} -c {shlex.quote(program)}"


def _interpreter() -> str:
    """Return the interpreter that has elasticsearch-py, by a relative path if it is below this directory."""
    path, here = Path(sys.executable), Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _table(room: int, plain: Search, reranked: Search) -> Table:
    """Return the table of both searches.

    Args:
        room: The width for an excerpt of the plots, which is left out if there is too little.
    """
    title = f"“{QUESTION}” among the films that match “crime”"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("Rank", justify="right")
    table.add_column("Film", no_wrap=True)
    table.add_column("Score", justify="right")
    table.add_column("Moved", justify="right")
    table.add_column("Rank before", justify="right")
    table.add_column("BM25 score", justify="right")
    with_plot = room >= 30
    if with_plot:
        table.add_column("Plot", no_wrap=True, overflow="ellipsis", max_width=room, style="dim")
    for cells, film in _rows(plain.films, reranked.films):
        table.add_row(*cells, *([film.plot] if with_plot else []))
    return table


def _rows(before: list[Film], after: list[Film]) -> Iterator[tuple[list[str | Text], Film]]:
    """Yield the rows in the new order; films that are not hits of the plain search have no rank before."""
    ranks = {film.title: rank for rank, film in enumerate(before, 1)}
    for rank, film in enumerate(after, 1):
        old = ranks.get(film.title)
        known = ["", ""] if old is None else [str(old), f"{before[old - 1].score:.3f}"]
        yield [str(rank), film.title, f"{film.score:.4f}", _arrow(old, rank), *known], film


def _arrow(before: int | None, after: int) -> Text:
    if before is None:
        return Text("new")
    if before == after:
        return Text("=", "dim")
    moved = before - after
    return Text(f"▲ {moved}", "green") if moved > 0 else Text(f"▼ {-moved}", "red")
