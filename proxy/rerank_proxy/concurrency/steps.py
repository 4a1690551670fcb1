"""Work that is done in steps, so that other work can have its turn in between."""

from collections.abc import Generator, Iterable
from itertools import chain, islice
from typing import Final, TypeVar

_T = TypeVar("_T")

Steps = Generator[None, None, _T]
"""Work that yields after each small step, and returns its result in the end."""

ITEMS_OF_A_STEP: Final = 1024


def run_at_once(steps: Steps[_T]) -> _T:
    """Do all of the steps here and now, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def gather(items: Iterable[_T]) -> Steps[list[_T]]:
    """Return a list of the items, however many there are."""
    iterator = chain(items)  # ends for good, where ICU's iterators would begin again
    gathered: list[_T] = []
    while piece := list(islice(iterator, ITEMS_OF_A_STEP)):
        gathered += piece
        yield
    return gathered
