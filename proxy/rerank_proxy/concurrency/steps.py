"""Work that is done in pieces, so that other work can have its turn in between."""

from collections.abc import Generator, Iterable
from itertools import chain, islice
from typing import Final, TypeVar

_T = TypeVar("_T")

Steps = Generator[None, None, _T]
"""Work that stops after each small piece, and in the end returns its result."""

ITEMS_OF_A_STEP: Final = 1024


def gather(items: Iterable[_T]) -> Steps[list[_T]]:
    """A list of the items, however many there are."""
    iterator = chain(items)  # which ends once, where ICU's iterators would begin again
    gathered: list[_T] = []
    while piece := list(islice(iterator, ITEMS_OF_A_STEP)):
        gathered += piece
        yield
    return gathered


def finish(steps: Steps[_T]) -> _T:
    """Do all of the work at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
