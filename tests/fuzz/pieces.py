"""How a check takes its input apart: parameters come first, bytes that arrive in pieces after them."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def choose(data: bytes, options: Sequence[T]) -> tuple[T, bytes]:
    """Return the option that the first byte chooses, and the rest of the data."""
    return options[(data[0] if data else 0) % len(options)], data[1:]


def in_pieces(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the data behind the first byte, in pieces whose size that byte chooses, and as a whole."""
    size, whole = choose(data, range(1, 33))
    return [whole[at : at + size] for at in range(0, len(whole), size)], whole
