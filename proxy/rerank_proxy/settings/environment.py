"""Read settings from the environment: `RERANK_PROXY_SECTION__KEY`; a mapping such as `models` is JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.settings.guesses import hint
from rerank_proxy.settings.rows import ENV_DELIMITER, ENV_PREFIX, table
from rerank_proxy.settings.values import given_twice, parse_json

CONFIG_VARIABLE: Final = ENV_PREFIX + "CONFIG"
"""Names the file if no option of the command line does."""

_KUBERNETES_SERVICE: Final = re.compile(
    ENV_PREFIX + r"([A-Z0-9]+_)*?(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""Variables that Kubernetes sets in every pod for a Service named `rerank-proxy` or `rerank-proxy-…`, which
are not settings."""

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings that are given by environment variables.

    Attributes:
        values: The settings, nested as in the file.
        names: The variable of each key.
        faults: A line for each fault of a variable itself.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: dict[_Key, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Environment":
        """Read the variables that begin with `RERANK_PROXY_`."""
        read = cls()
        known = _known()
        for name, text in sorted(environ.items()):
            if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
                continue
            if _KUBERNETES_SERVICE.match(f"{name}={text}"):
                continue
            key = tuple(name.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER))
            if key in known or (key[:1] in known and known[key[:1]]):
                read._take(name, key, text)
            else:
                variables = [CONFIG_VARIABLE, *map(_variable, known)]
                read.faults.append(f"{name}: unknown variable{hint(name, variables)}")
        return read

    def variable(self, key: _Key) -> str | None:
        """Return the variable that gives a key, a mapping around it, or a part of it."""
        for given, name in self.names.items():
            if given == key[: len(given)] or key == given[: len(key)]:
                return name
        return None

    def _take(self, name: str, key: _Key, text: str) -> None:
        target = self.values
        for part in key[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                self.faults.append(f"{name}: its section is already given as a whole by the environment")
                return
        if key[-1] in target:
            self.faults.append(f"{name}: {given_twice(key)}: {self.variable(key)} gives it too")
            return
        try:
            target[key[-1]] = _read(key, text)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
        else:
            self.names[key] = name


def _known() -> dict[_Key, bool]:
    """Return every key that may be a variable, and whether it is a mapping with names of the
    user's choice.
    """
    known: dict[_Key, bool] = {}
    for row in table():
        for length in range(1, len(row.path) + 1):
            if not row.per_entry:
                known.setdefault(row.path[:length], False)
        if row.per_entry:
            known[row.path[:1]] = True
    return known


def _variable(key: _Key) -> str:
    return ENV_PREFIX + ENV_DELIMITER.join(key).upper()


def _read(key: _Key, text: str) -> Any:
    if len(key) > 1 or not text.lstrip().startswith("{"):
        return text
    return parse_json(text)
