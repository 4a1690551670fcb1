"""Print tables and JSON to standard output."""

import json
import sys
from io import StringIO
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from rerank_proxy.observe.log_lines import printable

_UNBOUNDED = 1_000_000
"""Columns of an output that is not a terminal."""


def print_table(table: Table) -> None:
    """Print a table. A terminal gets long cells wrapped, those of the first column last; everything else gets
    a line for each row, of columns with blanks between them.
    """
    console = Console()
    if console.is_terminal:
        first = table.columns[0]
        first.overflow = "fold"
        first.min_width = min(console.width - 4, max((len(str(cell)) for cell in first.cells), default=1))
        console.print(table, markup=False, highlight=False)
        return
    table.box = None
    table.pad_edge = False
    whole = Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table)
    console = Console(width=max(whole.maximum, 1), file=StringIO())
    with console.capture() as printed:
        console.print(table, markup=False, highlight=False)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def print_line(line: str) -> None:
    click.echo(printable(line))


def print_json(value: Any) -> None:
    """Print a value as JSON. A terminal gets no character that it could take for an order.

    Half of a surrogate pair, which UTF-8 cannot hold, is written with JSON's escape.
    """
    bare = not sys.stdout.isatty() and (sys.stdout.encoding or "").lower() in ("utf-8", "utf8")
    text = json.dumps(value, indent=2, ensure_ascii=not bare)
    click.echo(text.encode("utf-8", "backslashreplace").decode())
