"""Settings that come one by one, each under a name: environment variables, and files of a directory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from rerank_proxy.settings.rows import ENV_DELIMITER, ENV_PREFIX, table
from rerank_proxy.settings.values import given_twice, parse_json

CONFIG_VARIABLE: Final = ENV_PREFIX + "CONFIG"
"""Names the file if no option of the command line does."""
SECRETS_DIR_VARIABLE: Final = ENV_PREFIX + "SECRETS_DIR"
"""Names the directory of secrets if no option of the command line does."""

_MOST_GUESSES: Final = 100

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedValues:
    """The settings of a source in which each has a name.

    Attributes:
        values: The settings, nested as in the file.
        names: The name of each key, such as that of the variable.
        faults: A line for each fault of a name or of a value itself.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: dict[Key, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def name_of(self, key: Key) -> str | None:
        """Return the name that gives a key, a mapping around it, or a part of it."""
        for given, name in self.names.items():
            if given == key[: len(given)] or key == given[: len(key)]:
                return name
        return None

    def refuse(self, name: str, problem: str, guess: Callable[[], str]) -> None:
        """Add the fault of a name that is not known.

        Args:
            guess: Returns what may have been meant, which takes a while: only the first ones are guessed.
        """
        self.faults.append(f"{name}: {problem}{guess() if len(self.faults) < _MOST_GUESSES else ''}")

    def take(self, name: str, key: Key, text: Callable[[], str]) -> None:
        """Add a setting, or the fault that its name or its text has.

        Args:
            text: Returns the text, or raises a `ValueError` that says what is wrong with it.
        """
        target = self.values
        for part in key[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                self.faults.append(f"{name}: its section is already given as a whole by {self.name_of(key)}")
                return
        if key[-1] in target:
            self.faults.append(f"{name}: {given_twice(key)}: {self.name_of(key)} gives it too")
            return
        try:
            target[key[-1]] = _read(key, text())
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
        else:
            self.names[key] = name


def key_of(name: str) -> Key:
    """Return the key that a name stands for: `UPSTREAM__URL` for `upstream.url`."""
    return tuple(name.lower().split(ENV_DELIMITER))


def variable_of(key: Key) -> str:
    """Return the environment variable that gives a key."""
    return ENV_PREFIX + ENV_DELIMITER.join(key).upper()


def is_known(key: Key) -> bool:
    """Tell whether a name may stand for this key."""
    known = known_keys()
    return key in known or (key[:1] in known and known[key[:1]])


@cache
def known_keys() -> dict[Key, bool]:
    """Return every key that may have a name, and whether it is a mapping with names of the user's
    choice.
    """
    known: dict[Key, bool] = {}
    for row in table():
        for length in range(1, len(row.path) + 1):
            if not row.per_entry:
                known.setdefault(row.path[:length], False)
        if row.per_entry:
            known[row.path[:1]] = True
    return known


def _read(key: Key, text: str) -> Any:
    if len(key) > 1 or not text.lstrip().startswith("{"):
        return text
    return parse_json(text)
