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
        help="TREC topics, id<TAB>text, BEIR's queries.jsonl, or JSON lines. "
        "[default: the file of --judgments, if its lines hold both]",
    )


def judgments_option(group: str) -> Option:
    """Make the option for the file of judgments."""
    about = 'TREC qrels, BEIR\'s qrels, or JSON lines {"query", "grades"}.'
    return Option(["--judgments"], group=group, type=FILE, help=about)


def index_option(group: str = OTHERS) -> Option:
    """Make the option for what is searched."""
    about = "The index, alias or pattern that is searched."
    return Option(["--index"], group=group, required=True, metavar="NAME", help=about)


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
