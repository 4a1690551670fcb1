"""Who shares what models gave: all callers, the calls of one caller, or none.

A namespace is part of the keys of outputs. Calls with other namespaces neither find one another's outputs nor
wait for those under way: a caller could tell by either that another one has scored the same texts.
"""

import secrets
from collections.abc import Callable
from typing import Final, Literal

CacheScope = Literal["shared", "caller", "none"]

_NAMESPACE_BYTES: Final = 16


class Namespaces:
    """Gives each call its namespace.

    Args:
        caller: Returns a digest of the credentials of the current call's caller, at most 64 bytes.
    """

    def __init__(self, scope: CacheScope, caller: Callable[[], bytes]) -> None:
        self._scope = scope
        self._caller = caller

    def of_call(self) -> bytes:
        """Return the namespace of the current call; an empty one is that of all callers."""
        match self._scope:
            case "shared":
                return b""
            case "caller":
                return self._caller()
            case "none":
                return secrets.token_bytes(_NAMESPACE_BYTES)
