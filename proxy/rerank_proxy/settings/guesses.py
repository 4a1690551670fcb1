"""Guess which name was meant by an unknown one."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Final

from rerank_proxy.settings.rows import SettingRow, known_keys, table

_MOST = 3
_MOST_KNOWN: Final = 500
"""Names that are compared: a file may have thousands, and each comparison takes a while."""
_LONGEST: Final = 64

RENAMED: Final = {
    "engine.dtype": "engine.precision",
    "log_level": "log.level",
    "search.upstream_timeout_s": "search.deadline_s",
}
"""What settings are called that had other names."""


def hint(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean …?`, or an empty string if no known word is similar."""
    close = _close(word, known)
    return f", did you mean {close[0]}?" if close else ""


def _close(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    if len(word) > _LONGEST:
        return []
    comparable = islice((each for each in known if len(each) <= _LONGEST), _MOST_KNOWN)
    return get_close_matches(word, list(comparable), n=1, cutoff=cutoff)


def hint_for_key(key: Sequence[str]) -> str:
    """Suggest a setting of the same section, or one of that name in another, or list those of the section."""
    *section, name = key
    siblings = known_keys(section)
    close = _close(name, siblings)
    renamed = RENAMED.get(".".join(key))
    meant = [renamed] if renamed else [".".join((*section, each)) for each in close] or _elsewhere(name)
    if meant:
        return f", did you mean {' or '.join(f'[{each}]' for each in meant)}?"
    return f"; known: {', '.join(sorted(siblings))}"


def _elsewhere(name: str) -> list[str]:
    rows: list[SettingRow] = [row for row in table() if not row.per_entry]
    close = _close(name, {row.path[-1] for row in rows}, cutoff=0.8)
    return [row.key for row in rows if row.path[-1] in close][:_MOST]
