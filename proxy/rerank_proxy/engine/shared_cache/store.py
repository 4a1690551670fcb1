"""What the shared cache needs of a store."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RefusedError(Exception):
    """A store that can be read does not take values, for example because it is full."""


class Store(Protocol):
    """Keys and values on another machine. All methods belong to one event loop, and may be cancelled.

    They raise whatever they like where something is wrong, and need not watch the time.
    """

    async def connect(self) -> None:
        """Make sure that the store answers. Called first of all, and again after something was wrong."""

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the value of each key, in their order; None where there is none."""

    async def put_many(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """Keep values for so many seconds, as far as there is room.

        Raises:
            RefusedError: Not all of them are kept, though the store answers.
        """

    async def close(self) -> None:
        """Close all connections. Nothing is called after that."""
