"""Ids of models and deployments (``MlStrings``), and expressions that name several of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy import wildcards

ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9_\-.]*[a-z0-9])?")
"""An id has no path separator, and no dot at either end: it is a safe file name."""
ID_LENGTH_LIMIT: Final = 64

_ALL: Final = ("_all", "*", "")


def id_faults(name: str, value: str) -> list[str]:
    """Return a message for each fault of an id.

    Args:
        name: The name of the parameter, such as `model_id`.
    """
    faults = []
    if ID.fullmatch(value) is None:
        faults.append(
            f"Invalid {name}; '{value}' can contain lowercase alphanumeric (a-z and 0-9), hyphens or "
            "underscores; must start and end with alphanumeric"
        )
    if len(value) > ID_LENGTH_LIMIT:
        faults.append(f"Invalid {name}; '{value}' cannot contain more than {ID_LENGTH_LIMIT} characters.")
    return faults


def is_id(value: str) -> bool:
    return ID.fullmatch(value) is not None and len(value) <= ID_LENGTH_LIMIT


@dataclass(frozen=True)
class IdExpression:
    """Ids and patterns with `*`, separated by commas (``ExpandedIdsMatcher``)."""

    tokens: Sequence[str]

    @classmethod
    def of(cls, text: str) -> "IdExpression":
        return cls(("*",) if text in _ALL else tuple(filter(None, text.split(","))))

    def matches(self, value: str) -> bool:
        return any(_matches(token, value) for token in self.tokens)

    def unmatched(self, values: Iterable[str], *, allow_no_match: bool) -> list[str]:
        """Return the tokens that match none of `values`, without patterns if those may match nothing."""
        values = list(values)
        return [
            token
            for token in self.tokens
            if not (allow_no_match and _is_pattern(token))
            and not any(_matches(token, value) for value in values)
        ]

    def without(self, values: Iterable[str]) -> "IdExpression":
        """Return the expression without the ids in `values`; patterns stay."""
        known = set(values)
        return IdExpression(tuple(token for token in self.tokens if token not in known))

    def __str__(self) -> str:
        return ",".join(self.tokens)


def _is_pattern(token: str) -> bool:
    return "*" in token or token in _ALL


def _matches(token: str, value: str) -> bool:
    return token in _ALL or wildcards.matches(token, value)
