"""The options for settings, which are made from the table of settings."""

from functools import cache
from typing import Final

import click
from click.shell_completion import CompletionItem

from rerank_proxy.cli.help import BASICS, HELP_ALL, Option, first_sentence
from rerank_proxy.cli.options import CONFIG_OPTIONS
from rerank_proxy.settings import SettingRow, Settings, table
from rerank_proxy.settings.values import SHORT_FORMS

_BASIC: Final = ("--log-level",)
_ENTRIES: Final = (
    Option(
        ["--model", "models"],
        group=BASICS,
        multiple=True,
        metavar="NAME=SOURCE",
        help="NAME=SOURCE: a model on this machine, which is a directory or a hub id. Repeatable.",
    ),
    Option(
        ["--endpoint", "endpoints"],
        group=BASICS,
        multiple=True,
        metavar="ID=MODEL",
        help="ID=MODEL: serve inference_id ID with a model of --model or of the file. Repeatable.",
    ),
)


class SettingValue(click.types.StringParamType):
    """The value of a setting, which the table checks with all others; shells complete choices and files."""

    name = "value"

    def __init__(self, row: SettingRow) -> None:
        self._row = row

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if self._row.is_path:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in self._row.choices if choice.startswith(incomplete)]


def settings_options() -> list[click.Parameter]:
    """Return the options for where settings are, and one for every setting: the basics, then all others, in
    the order of the table; and the one that shows all of them.
    """
    return list(_options())


@cache
def _options() -> tuple[click.Parameter, ...]:
    made = [_option(row) for row in table() if row.option is not None]
    basics = [each for each in made if each.group == BASICS]
    rest = (each for each in made if each.group != BASICS)
    return (*CONFIG_OPTIONS, *basics, *_ENTRIES, *rest, HELP_ALL)


def _option(row: SettingRow) -> Option:
    default = "" if row.default is None else f" [default: {row.default_text}]"
    return Option(
        [row.option or "", "__".join(row.path)],
        group=_group(row),
        type=SettingValue(row),
        default=None,
        metavar=row.path[-1].upper(),
        help=f"{first_sentence(row.description)}.{default}",
    )


def _group(row: SettingRow) -> str:
    """Return the group of an option: the basics, or the section of the setting."""
    is_short = len(row.path) == 2 and SHORT_FORMS.get(row.path[0]) == row.path[1]
    if len(row.path) == 1 or is_short or row.option in _BASIC:
        return BASICS
    return f"{row.path[0]}: {first_sentence(Settings.model_fields[row.path[0]].description or '')}"
