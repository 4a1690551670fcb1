"""The command `rerank-proxy evaluate`."""

import asyncio
import sys
from typing import Any, Final

import click

from rerank_proxy.cli.help import Command, grouped
from rerank_proxy.cli.options import CONFIG_OPTIONS, CommandError, die
from rerank_proxy.cli.proxy_options import ProxyOptions, proxy_options
from rerank_proxy.cli.relevance_options import (
    FILE,
    FOLDER,
    compared_options,
    concurrency_option,
    index_option,
    judgments_option,
    queries_option,
)
from rerank_proxy.processes.loop import new_event_loop

_EXAMPLE: Final = """
\b
  rerank-proxy evaluate --index films --field plot \\
      --queries queries.tsv --judgments qrels.txt \\
      --endpoint .rerank-v1-elasticsearch --window 10,50,100
"""
_COMPARED: Final = "What is compared"
_MEASURED: Final = "How it is measured"
_JUDGED: Final = "Queries and judgments"
_compared, _measured, _judged = map(grouped, (_COMPARED, _MEASURED, _JUDGED))


class _Numbers(click.ParamType[Any]):
    """Whole numbers above 0 with commas between them."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 10_000 for part in parts):
            self.fail(
                f"{value}: expected numbers from 1 to 10000 with commas between, as in 10,50,100", param, ctx
            )
        return tuple(sorted({int(part) for part in parts}))


_OPTIONS: Final[list[click.Parameter]] = [
    queries_option(_JUDGED),
    judgments_option(_JUDGED),
    _judged(
        "--clicks",
        type=FILE,
        help="In place of judgments: query, document, position, and clicked or "
        "impressions and clicks, as columns with a header or JSON lines.",
    ),
    _judged(
        "--click-eta",
        type=click.FloatRange(0, 3),
        default=1.0,
        show_default=True,
        help="Attention falls as position^-ETA, and clicks are weighted against it; 0: not at all.",
    ),
    _judged(
        "--click-max-weight",
        type=click.FloatRange(1),
        default=10.0,
        show_default=True,
        help="The most that one click counts.",
    ),
    _judged(
        "--click-min",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Pairs of query and document with fewer clicks count as not clicked.",
    ),
    _judged("--limit", type=click.IntRange(1), help="Ask only so many of the queries, spread over all."),
    index_option(_COMPARED),
    *compared_options(_COMPARED, default=" [default: bm25 of --field]"),
    _compared(
        "--window",
        "windows",
        type=_Numbers(),
        default="50",
        show_default=True,
        help="rank_window_size of the endpoints, and what stands for {{window}}: one, or several with "
        "commas between.",
    ),
    _compared("--baseline", metavar="NAME", help="What the others are compared with. [default: the first]"),
    _measured(
        "--measure",
        "measures",
        multiple=True,
        metavar="MEASURE",
        help="Of ir-measures; the first decides. Repeatable. [default: nDCG@10, RR@10 (MRR), R@10]",
    ),
    _measured(
        "--unjudged",
        type=click.Choice(["wrong", "leave-out"]),
        default="wrong",
        show_default=True,
        help="What hits without a judgment count; left out, those below move up.",
    ),
    _measured(
        "--out",
        type=FOLDER,
        default="evaluation",
        show_default=True,
        help="Directory of the report, and of what was answered: the same command goes on there.",
    ),
    concurrency_option(_MEASURED),
    _measured(
        "--timed",
        type=click.IntRange(0, 10_000),
        default=20,
        show_default=True,
        help="Time so many searches of each system, one at a time.",
    ),
    _measured("--cold", is_flag=True, help="Count no times of searches with scores from the cache."),
    _measured("--fresh", is_flag=True, help="Forget the answers of earlier runs, and ask all again."),
    _measured(
        "--seed", type=click.IntRange(0), default=None, help="Of the random numbers of the statistics."
    ),
    _measured("--json", "as_json", is_flag=True, help="Print the report as JSON in place of tables."),
]


@click.command(cls=Command, epilog=_EXAMPLE, params=[*CONFIG_OPTIONS, *_OPTIONS])
@proxy_options
def evaluate(**options: Any) -> None:
    """Measure what reranking does to your own queries: quality with significance, and milliseconds.

    Every system is asked every query that has judgments. The report, with plots, is a file of HTML that needs
    nothing else, and the same in JSON and Markdown.

    Exits with 1 where a system has answered too few queries to be compared, too.

    A run that was stopped goes on with the same command. Elasticsearch decides by the credentials what may be
    searched; they are never taken from the command line.
    """
    from rerank_proxy.cli.evaluation import EvaluateCommand, Options
    from rerank_proxy.relevance.errors import RelevanceError

    try:
        proxy = ProxyOptions.taken(options)
        command = EvaluateCommand.of(Options(**options), proxy)
    except (CommandError, RelevanceError) as failure:
        die(str(failure), 2)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(command.run())
            complete = command.show()
        except (CommandError, RelevanceError) as failure:
            die(str(failure), 1)
        except KeyboardInterrupt:
            die(command.stopped(), 130)
    sys.exit(0 if complete else 1)
