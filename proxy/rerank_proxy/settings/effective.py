"""What each setting is, and where it was given, without any secret."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ByteSize, SecretStr

from rerank_proxy.settings.loading import Loaded, Origin
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import SettingRow, table, text_of
from rerank_proxy.settings.sensitive import is_harmless, may_hold_secret

HIDDEN: Final = "••••"
_REFERENCES: Final = ({"env"}, {"file"})


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as it is in force.

    Attributes:
        key: Its key, with the name of the entry where the row has `NAME`.
        value: Its value as JSON has it; `HIDDEN` for a secret that is set.
    """

    row: SettingRow
    key: tuple[str, ...]
    value: Any
    changed: bool
    origin: Origin


def effective(loaded: Loaded) -> Iterator[Effective]:
    """Yield every setting, in the order of the table. Entries of mappings have all of theirs."""
    for row in table():
        if not row.per_entry:
            yield _one(loaded, row, row.path)
    names = dict.fromkeys(row.path[0] for row in table() if row.per_entry)
    for mapping in names:
        rows = [row for row in table() if row.per_entry and row.path[0] == mapping]
        for name in getattr(loaded.settings, mapping):
            for row in rows:
                yield _one(loaded, row, (mapping, name, *row.path[2:]))


def changed(settings: Settings) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and default of each setting that is not what it is without being set.

    Where it was given is not known, and secrets are hidden as `effective` does.
    """
    loaded = Loaded(settings, {}, {}, lambda key: Origin("default"))
    for each in effective(loaded):
        if each.row.held and each.changed and each.value is not None:
            yield ".".join(each.key), each.value, _plain(each.row.default)


def _one(loaded: Loaded, row: SettingRow, key: tuple[str, ...]) -> Effective:
    value = _value(loaded.settings if row.held else loaded.values, key)
    changed = row.required or value != row.default
    if row.secret:
        shown = None if value is None else HIDDEN
    else:
        shown = _plain(without_secrets(value) if isinstance(value, Mapping) else value)
    given = changed or _value(loaded.values, key) is not None  # else a short form may give its section
    return Effective(row, key, shown, changed, loaded.origin(key) if given else Origin("default"))


def _value(values: Any, key: tuple[str, ...]) -> Any:
    for name in key:
        values = values.get(name) if isinstance(values, Mapping) else getattr(values, name, None)
    return values


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | dict):
        return value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int | float) and not isinstance(value, ByteSize):
        return value
    return text_of(value)


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a service without the texts that may be secrets.

    What a service calls a secret is known to the service alone, which may be a plug-in: texts are shown under
    names that are known to be harmless. A reference to a variable or a file is shown.
    """
    return {name: _shown(value) if is_harmless(name) else _hidden(value) for name, value in values.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    return HIDDEN if isinstance(value, SecretStr) or may_hold_secret(str(value)) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        reference = set(value) in _REFERENCES
        return dict(value) if reference else {name: _hidden(each) for name, each in value.items()}
    if isinstance(value, list):
        items = [_hidden(each) for each in value]
        return items if items == value else HIDDEN
    return HIDDEN if isinstance(value, str | SecretStr) else value
