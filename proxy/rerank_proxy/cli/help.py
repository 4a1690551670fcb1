"""Commands whose help has its options in groups.

Where the options of settings are among them, `--help` has the basics and the names of the sections, and
`--help-all` has all. Elsewhere all are shown.

A terminal gets it from rich-click, which is only imported then: a proxy that starts does not pay for it.
Everything else gets click's own form, which `grep` can read, and so does a terminal that is narrow or without
colours.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

BASICS: Final = "Basics"
OTHERS: Final = "Options"
_SHOWS_ALL: Final = f"{__name__}.all"
"""The key in a context's `meta` that has the help show all options."""
_WIDE: Final = 100
"""Columns below which rich-click breaks names of options in two."""


class Option(click.Option):
    """An option that belongs to a group of the help."""

    def __init__(self, *args: Any, group: str = OTHERS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def grouped(group: str) -> Callable[..., Option]:
    """Return what makes an option of a group, by its names and click's parameters."""
    return lambda *names, **more: Option([*names], group=group, **more)


def groups_of(command: click.Command, ctx: click.Context) -> dict[str, list[click.Parameter]]:
    """Return the options of a command by their groups, in their order; those without one come last."""
    groups: dict[str, list[click.Parameter]] = {}
    others: list[click.Parameter] = []
    for each in command.get_params(ctx):
        if isinstance(each, click.Option) and not each.hidden:
            group = each.group if isinstance(each, Option) else OTHERS
            (others if group == OTHERS else groups.setdefault(group, [])).append(each)
    return {**groups, OTHERS: others}


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_SHOWS_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


HELP_ALL: Final = Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_all,
    help="Show the options of all sections, too, and exit.",
)


class _Helpful(click.Command):
    """Shows its help as the output can take it."""

    def get_help(self, ctx: click.Context) -> str:
        if _is_plain():
            return super().get_help(ctx)
        from rerank_proxy.cli.rich_help import rich_help

        shown, sections = self._parted(ctx)
        others = shown.pop(OTHERS)
        after = ctx.make_formatter()  # click's, which leaves the lines of examples as they are
        _name(sections, after)
        self.format_epilog(ctx, after)
        return rich_help(self, ctx, shown, others, after.getvalue())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown, sections = self._parted(ctx)
        for group, options in shown.items():
            if records := [record for each in options if (record := each.get_help_record(ctx)) is not None]:
                with formatter.section(group):
                    formatter.write_dl(records)
        _name(sections, formatter)

    def _parted(self, ctx: click.Context) -> tuple[dict[str, list[click.Parameter]], list[str]]:
        """Return the groups whose options are shown, and the names of all others.

        With `--help-all`, or without such an option, there are no others.
        """
        groups = groups_of(self, ctx)
        if _SHOWS_ALL in ctx.meta or HELP_ALL not in self.params:
            return groups, []
        shown = {name: options for name, options in groups.items() if name in (BASICS, OTHERS)}
        return shown, [name for name in groups if name not in shown]


def _name(sections: list[str], formatter: click.HelpFormatter) -> None:
    rows = [(name, about) for name, _, about in (each.partition(": ") for each in sections)]
    if rows:
        with formatter.section("Sections of further options"):
            formatter.write_dl(rows)


class Command(_Helpful):
    """A command of `rerank-proxy`."""


class Group(_Helpful, click.Group):
    """A group of commands of `rerank-proxy`."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


Group.group_class = Group


def _is_plain() -> bool:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return True
    return shutil.get_terminal_size().columns < _WIDE


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, without its full stop."""
    return next(_sentences(text)).rstrip(".")


def _sentences(text: str) -> Iterator[str]:
    begin = 0
    for place in range(len(text) - 2):
        if text[place : place + 2] == ". " and not text[place + 2].islower():
            yield text[begin : place + 1]
            begin = place + 2
    yield text[begin:]
