"""The commands `rerank-proxy judge …`."""

from pathlib import Path
from typing import Any, Final

import click

from rerank_proxy.cli.help import Group, Option
from rerank_proxy.cli.options import CONFIG_OPTIONS, die, pairs_of
from rerank_proxy.cli.proxy_options import ProxyOptions, proxy_options
from rerank_proxy.cli.relevance_options import (
    FILE,
    FOLDER,
    compared_options,
    concurrency_option,
    index_option,
)

_POOLED: Final = "What is pooled"
_JUDGING: Final = "Who judges, and by what"
_EXAMPLE = """
\b
  rerank-proxy judge pool judging queries.tsv --index films \\
      --show title --show plot --system bm25:plot \\
      --endpoint .rerank-v1-elasticsearch --field plot
  rerank-proxy judge open judging --as anna
  rerank-proxy judge write judging qrels.txt
"""


@click.group(cls=Group, epilog=_EXAMPLE)
def judge() -> None:
    """Make judgments: which documents answer which queries.

    "pool" collects what several retrievers find, "open" has a person judge it in the browser, "ask" has an
    endpoint judge it, "agreement" compares judges, and "write" makes the file that evaluate and train read.
    DIR is a directory of your own for one such judging; each command goes on where it was stopped.

    They exit with 0; with 1 if something could not be done; with 2 if the command is wrong.
    """


_DIRECTORY = click.argument("directory", metavar="DIR", type=FOLDER)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _pooled(*names: str, **more: Any) -> click.Parameter:
    return Option([*names], group=_POOLED, **more)


def _judging(*names: str, **more: Any) -> click.Parameter:
    return Option([*names], group=_JUDGING, **more)


_POOL_OPTIONS: Final[list[click.Parameter]] = [
    index_option(_POOLED),
    *compared_options(_POOLED),
    _pooled(
        "--window",
        default=50,
        show_default=True,
        type=click.IntRange(1, 10_000),
        help="How many hits of the first stage endpoints rerank.",
    ),
    _pooled(
        "--depth",
        default=20,
        show_default=True,
        type=click.IntRange(1, 1000),
        help="Hits taken of each system.",
    ),
    concurrency_option(_POOLED),
    _judging(
        "--show",
        "fields",
        multiple=True,
        required=True,
        metavar="FIELD",
        help="A field that judges see. Repeatable.",
    ),
    _judging(
        "--judge", "judges", multiple=True, metavar="NAME", help="Divide queries among these. Repeatable."
    ),
    _judging(
        "--shared",
        default=0.2,
        show_default=True,
        type=click.FloatRange(0, 1),
        help="The share of queries that each of them gets, to see how far they agree.",
    ),
    _judging(
        "--grade",
        "grades",
        multiple=True,
        metavar="N=MEANING",
        help="What a grade means. Repeatable. [default: four, from 0 to 3]",
    ),
    _judging(
        "--seed",
        default=1,
        show_default=True,
        type=int,
        help="Of the order of documents, and of who judges what.",
    ),
]


@judge.command(params=[*CONFIG_OPTIONS, *_POOL_OPTIONS])
@_DIRECTORY
@click.argument("queries", type=FILE)
@proxy_options
def pool(**options: Any) -> None:
    """Collect in DIR what several systems find for the QUERIES of a file, for judges to judge.

    QUERIES has any form that evaluate reads. The hits of all systems become one set for each query. Judges
    do not see who found a document, or where it stood.
    """
    from rerank_proxy.cli.judge_pool import PoolOptions, pool_command

    proxy = ProxyOptions.taken(options)
    options["meanings"] = pairs_of("--grade", options.pop("grades"))
    pool_command(PoolOptions(**options), proxy)


@judge.command("open", params=[*CONFIG_OPTIONS])
@_DIRECTORY
@click.option("--as", "name", required=True, metavar="NAME", help="The judge's name.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Of the page. [default: any free one]")
@proxy_options
def open_(**options: Any) -> None:
    """Have a person judge DIR in the browser, until Ctrl-C.

    Prints an address of this machine that opens the page once; then it prints another one, for a further
    window.
    """
    from rerank_proxy.cli.judge_open import open_command

    proxy = ProxyOptions.taken(options)
    open_command(**options, proxy=proxy)


@judge.command(params=[*CONFIG_OPTIONS, concurrency_option()])
@_DIRECTORY
@click.option("--by", "endpoint", required=True, metavar="ENDPOINT", help="The inference id of the judge.")
@click.option("--thresholds", metavar="N,N,…", help="The least scores for grade 1, 2 …")
@click.option(
    "--quantiles", metavar="N,N,…", help="The shares of texts below grade 1, 2 …, such as 0.8,0.9,0.97."
)
@click.option("--chat", is_flag=True, help="The endpoint is a chat model that answers with the grade.")
@click.option(
    "--prompt",
    type=FILE,
    help="A file with what a chat model is asked, with {{query}}, {{document}} and perhaps {{scale}} in it.",
)
@proxy_options
def ask(**options: Any) -> None:
    """Have an endpoint of the proxy judge DIR: a large reranker, or a chat model by the service custom.

    Its grades are kept apart from those of persons and marked wherever they are written. They must not be
    used to evaluate the same model, or one that was trained on its scores.
    """
    chosen = [name for name in ("thresholds", "quantiles") if options[name] is not None]
    if len(chosen) > 1 or (not chosen and not options["chat"] and options["prompt"] is None):
        die("how do scores become grades? Give either --thresholds or --quantiles, or --chat", 2)
    from rerank_proxy.cli.judge_ask import AskOptions, ask_command

    proxy = ProxyOptions.taken(options)
    ask_command(AskOptions(**options), proxy)


@judge.command()
@_DIRECTORY
@_JSON
def agreement(directory: Path, as_json: bool) -> None:
    """Show how far the judges of DIR agree, about the documents that two of them have graded."""
    from rerank_proxy.cli.judged import agreement_command

    agreement_command(directory, as_json=as_json)


@judge.command()
@_DIRECTORY
@click.argument("out", type=FILE)
@click.option(
    "--from",
    "names",
    multiple=True,
    metavar="NAME",
    help="Whose grades: persons, or endpoints that were asked. Repeatable. [default: all persons]",
)
@click.option(
    "--undecided",
    default="leave-out",
    show_default=True,
    type=click.Choice(["leave-out", "lower", "higher"]),
    help="What becomes of documents that persons grade differently, without a decision.",
)
def write(directory: Path, out: Path, names: tuple[str, ...], undecided: str) -> None:
    """Write the judgments of DIR to the file OUT: TREC's qrels, or BEIR's if it ends in .tsv, or .jsonl.

    Beside it comes a file that tells who has judged, when and how. What is not judged is not written.
    """
    from rerank_proxy.cli.judged import write_command

    write_command(directory, out, names, undecided)
