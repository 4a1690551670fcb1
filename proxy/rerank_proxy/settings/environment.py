"""Settings from the environment: `RERANK_PROXY_SECTION__KEY`; a mapping such as `models` is given as JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.settings.guesses import hint
from rerank_proxy.settings.rows import ENV_DELIMITER, ENV_PREFIX, table
from rerank_proxy.settings.values import given_twice, parse_json

CONFIG_VARIABLE: Final = ENV_PREFIX + "CONFIG"
"""Where the command line finds the file, when no option names it."""

_KUBERNETES_SERVICE: Final = re.compile(
    ENV_PREFIX + r"([A-Z0-9]+_)*?(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What Kubernetes sets in every pod beside a Service named `rerank-proxy` or `rerank-proxy-…`: no settings of
ours."""

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """What the variables give.

    Attributes:
        values: Nested, as in the file.
        names: The variable of each key.
        faults: What is wrong with variables as such, a line each.
    """

    values: dict[str, Any] = field(default_factory=dict)
    names: dict[_Key, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Environment":
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
        """Which one gives this key, what it is a part of, or a part of it."""
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
            self.faults.append(f"{name}: {given_twice(key)}: {self.variable(key)} gives it, too")
            return
        try:
            target[key[-1]] = _read(key, text)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
        else:
            self.names[key] = name


def _known() -> dict[_Key, bool]:
    """Every key that may be a variable; whether it is a mapping whose names are of the user's choice."""
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
