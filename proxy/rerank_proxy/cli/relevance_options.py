"""Options that several of the commands `evaluate`, `judge` and `train` have."""

from pathlib import Path
from typing import Final

import click

from rerank_proxy.cli.help import OTHERS, Option

FILE: Final = click.Path(path_type=Path, dir_okay=False)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)


def queries_option(group: str) -> Option:
    """Make the option for the file of queries."""
    return Option(
        ["--queries"],
        group=group,
        type=FILE,
        help="TREC topics, id<TAB>text, BEIR's queries.jsonl, JSON, or CSV with a header. "
        "[default: the file of --judgments, if its lines hold both]",
    )


def judgments_option(group: str) -> Option:
    """Make the option for the file of judgments."""
    about = 'TREC qrels, BEIR\'s qrels, JSON lines {"query", "grades"}, or CSV with a header.'
    return Option(["--judgments"], group=group, type=FILE, help=about)


def index_option(group: str = OTHERS) -> Option:
    """Make the option for what is searched."""
    about = "The index, alias or pattern that is searched."
    return Option(["--index"], group=group, required=True, metavar="NAME", callback=_index, help=about)


def _index(_: click.Context, option: click.Parameter, name: str) -> str:
    """Refuse what would search all indices in place of one, since an address drops it."""
    if name.strip(" .,") == "":
        raise click.BadParameter(f"{name!r} cannot be the name of an index", param=option)
    return name


def compared_options(group: str = OTHERS, *, default: str = "") -> list[Option]:
    """Make the options for systems, and for the endpoints and the field that those without a file have.

    Args:
        default: What the help says that systems are by default.
    """
    return [
        Option(
            ["--system", "systems"],
            group=group,
            multiple=True,
            metavar="[NAME=]SYSTEM",
            help="bm25:FIELD, or a JSON or YAML file with a retriever or a search body that has {{query}} in "
            f"it. Repeatable.{default}",
        ),
        Option(
            ["--endpoint", "endpoints"],
            group=group,
            multiple=True,
            metavar="[NAME=]ID",
            help="An inference endpoint: a reranker above --first-stage, or what stands for {{endpoint}}. "
            "Repeatable.",
        ),
        Option(
            ["--field"],
            group=group,
            metavar="FIELD[,FIELD]...",
            help="What bm25 searches; endpoints read the first.",
        ),
        first_stage_option(group),
    ]


def first_stage_option(group: str) -> Option:
    """Make the option for what a reranker stands above."""
    return Option(
        ["--first-stage"],
        group=group,
        metavar="SYSTEM",
        help="What endpoints rerank: bm25:FIELD, or a JSON or YAML file with a retriever. "
        "[default: bm25 of --field]",
    )


def concurrency_option(group: str = OTHERS) -> Option:
    """Make the option for how many requests are under way."""
    return Option(
        ["--concurrency"],
        group=group,
        type=click.IntRange(1, 64),
        default=2,
        show_default=True,
        help="Requests at once, at most.",
    )
