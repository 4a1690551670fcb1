"""What a name that there is not may have been meant for."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from rerank_proxy.settings.rows import Setting, known_keys, table

_MOST = 3


def hint(word: str, known: Iterable[str]) -> str:
    """`, did you mean …?`, or nothing where nothing is alike."""
    close = get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def hint_for_key(key: Sequence[str]) -> str:
    """The same for a setting: one of its section, or one of this name in another; else what there is."""
    *section, name = key
    siblings = known_keys(section)
    close = get_close_matches(name, siblings, n=1)
    meant = [".".join((*section, each)) for each in close] or _elsewhere(name)
    if meant:
        return f", did you mean {' or '.join(f'[{each}]' for each in meant)}?"
    return f"; known: {', '.join(sorted(siblings))}"


def _elsewhere(name: str) -> list[str]:
    rows: list[Setting] = [row for row in table() if not row.per_entry]
    close = get_close_matches(name, {row.path[-1] for row in rows}, n=1, cutoff=0.8)
    return [row.key for row in rows if row.path[-1] in close][:_MOST]
