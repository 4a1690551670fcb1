"""The query string of a search, read as Elasticsearch reads it (``RestUtils#decodeQueryString``)."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from rerank_proxy.errors import Cause, illegal_argument
from rerank_proxy.xcontent.object_parser import INT_MAX, INT_MIN
from rerank_proxy.xcontent.target import decode, parameters


@dataclass(frozen=True)
class Params(Mapping[str, str]):
    """Parameters by decoded name. The last of equal names wins; the raw text is kept for forwarding."""

    pairs: tuple[tuple[str, str, str], ...]
    """The decoded name, decoded value and raw `name=value` of each parameter, in order."""

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @cached_property
    def _values(self) -> Mapping[str, str]:
        return {name: value for name, value, _ in self.pairs}

    def less(self, names: Collection[str]) -> "Params":
        """Return the parameters without those called `names`."""
        return Params(tuple(pair for pair in self.pairs if pair[0] not in names))

    def without(self, names: Collection[str]) -> str:
        """Return the raw query string without the parameters called `names`."""
        return "&".join(raw for name, _, raw in self.pairs if name not in names)

    def only(self, names: Collection[str]) -> str:
        """Return the raw query string of only the parameters called `names`."""
        return "&".join(raw for name, _, raw in self.pairs if name in names)

    def flag(self, name: str) -> bool:
        """Return a boolean parameter, which is true if it is present without a value or is `true`."""
        value = self.get(name)
        if value is None or value == "false":
            return False
        if value not in ("", "true"):
            reason = f"Failed to parse value [{value}] as only [true] or [false] are allowed."
            raise illegal_argument(reason)
        return True

    def integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", value) or not INT_MIN <= int(value) <= INT_MAX:
            inner = Cause("number_format_exception", f'For input string: "{value}"')
            reason = f"Failed to parse int parameter [{name}] with value [{value}]"
            raise illegal_argument(reason, caused_by=inner)
        return int(value)


def parse_params(query: str) -> Params:
    """Split a query string at `&` and `;`, up to `#`; `+` is a space.

    What stands behind an equals sign without a name is a name.
    """
    pairs = []
    for raw in parameters(query.partition("#")[0]):
        name, _, value = raw.lstrip("=").partition("=")
        if name:
            pairs.append((_decode(name), _decode(value), raw))
    return Params(tuple(pairs))


def _decode(text: str) -> str:
    return decode(text, plus_is_space=True)
