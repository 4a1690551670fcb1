"""Run the command `settings`."""

import json
import textwrap
from collections.abc import Iterable
from typing import Any, Final

from rich.table import Table

from rerank_proxy.observe.log_lines import printable
from rerank_proxy.settings.effective import HIDDEN, Effective
from rerank_proxy.settings.yaml_file import dump

_WIDTH: Final = 100


def chosen(settings: Iterable[Effective], keys: tuple[str, ...], *, changed: bool) -> list[Effective]:
    """Return the settings whose keys are given, or are below one that is given; all without any."""
    return [
        each
        for each in settings
        if (each.changed or not changed) and (not keys or any(_is_below(each.key, key) for key in keys))
    ]


def _is_below(key: tuple[str, ...], given: str) -> bool:
    name = ".".join(key)
    return name == given or name.startswith(f"{given}.")


def table_of(settings: Iterable[Effective]) -> Table:
    """Return a row for each: the setting, its value, and where it was given."""
    table = Table("setting", "value", "given by")
    for each in settings:
        table.add_row(*map(printable, (".".join(each.key), _text(each.value), place(each))))
    return table


def description_of(setting: Effective) -> str:
    """Return lines about a setting: what it is for, its default, and where it can be given."""
    row = setting.row
    ways = [name for name in (row.option, row.environment, ".".join(setting.key)) if name is not None]
    lines = [
        ".".join(setting.key),
        *textwrap.wrap(row.description, _WIDTH, initial_indent="  ", subsequent_indent="  "),
        f"  given by: {', '.join(ways)}",
    ]
    if row.choices:
        lines.append(f"  one of: {', '.join(row.choices)}")
    if not row.secret:
        lines.append(f"  default: {'none' if row.default is None else row.default_text}")
    lines.append(f"  changed by SIGHUP: {'yes' if row.reloaded else 'no'}")
    lines.append(f"  now: {printable(_text(setting.value))}, from {printable(place(setting))}")
    return "\n".join(lines)


def place(setting: Effective) -> str:
    """Return where a setting was given."""
    origin = setting.origin
    if origin.kind == "command line":
        return setting.row.option or f"--{setting.key[0].removesuffix('s')}"
    return origin.place or origin.kind


def records_of(settings: Iterable[Effective]) -> list[dict[str, Any]]:
    """Return an object for each, as JSON has it."""
    return [
        {
            "key": ".".join(each.key),
            "value": None if each.row.secret else each.value,
            "set": each.value is not None,
            "secret": each.row.secret,
            "changed": each.changed,
            "source": each.origin.kind,
            "place": each.origin.place or None,
        }
        for each in settings
    ]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def yaml_of(settings: Iterable[Effective]) -> str:
    """Return a file that gives the same settings, but for secrets that are in no file: a comment says that
    they are set.
    """
    settings = list(settings)
    values: dict[str, Any] = {}
    absent: list[str] = []
    from_files = {
        (*each.key[:-1], each.row.file_of) for each in settings if each.row.file_of and each.value is not None
    }
    for each in settings:
        if not each.row.secret:
            _put(values, each.key, _loadable(each.value, ".".join(each.key), absent))
        elif each.value is not None and each.key not in from_files:
            absent.append(".".join(each.key))
    comments = [f"# {printable(key)}: a secret that is set, and not shown\n" for key in absent]
    return "".join(comments) + dump(values)


def _put(values: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        values = values.setdefault(part, {})
    values[key[-1]] = value


def _loadable(value: Any, key: str, absent: list[str]) -> Any:
    """Return a value without what is hidden in it, whose keys are added to `absent`."""
    if isinstance(value, list):
        return [_loadable(each, key, absent) for each in value]
    if not isinstance(value, dict):
        return value
    absent += [f"{key}.{name}" for name, each in value.items() if each == HIDDEN]
    return {name: _loadable(each, f"{key}.{name}", absent) for name, each in value.items() if each != HIDDEN}
