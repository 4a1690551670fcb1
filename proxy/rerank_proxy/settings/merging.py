"""Merge the settings of several sources, of which a later one overrides an earlier one."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from rerank_proxy.settings.rows import table
from rerank_proxy.settings.values import RIVALS, SHORT_FORMS


def merge(base: Mapping[Any, Any], over: Mapping[Any, Any], section: tuple[str, ...] = ()) -> dict[Any, Any]:
    """Return the settings of `base`, overridden by those of `over`."""
    merged = dict(base)
    for key in _displaced(section, base, over):
        del merged[key]
    for key, value in over.items():
        inner = (*section, str(key))
        short = SHORT_FORMS.get(key) if not section else None
        below = _in_full(short, merged.get(key), value)
        above = {short: value} if short and isinstance(value, str) and isinstance(below, Mapping) else value
        if isinstance(above, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, above, inner)
        else:
            merged[key] = value
    return merged


def _in_full(short: str | None, below: object, over: object) -> object:
    """Return a section that is given by its short form as a mapping, where this has to be merged."""
    if short is not None and isinstance(below, str) and isinstance(over, str | Mapping):
        return {short: below}
    return below


def _displaced(section: tuple[str, ...], base: Mapping[Any, Any], over: Mapping[Any, Any]) -> set[Any]:
    """Return the keys of a section of an earlier source whose place keys of a later one take."""
    given = {key for key, value in over.items() if value is not None}
    return {
        key
        for rivals in _rivals().get(section, ())
        if rivals & given
        for key in rivals & base.keys()
        if key not in over
    }


@cache
def _rivals() -> dict[tuple[str, ...], list[frozenset[str]]]:
    """Return, by section, the keys of which one is given: among them each secret and its file."""
    rivals: dict[tuple[str, ...], list[frozenset[str]]] = {
        (section,): [keys] for section, keys in RIVALS.items()
    }
    for row in table():
        if row.file_of is not None:
            rivals.setdefault(row.path[:-1], []).append(frozenset({row.path[-1], row.file_of}))
    return rivals
