"""Work in steps, done in one go."""

from typing import TypeVar

from rerank_proxy.concurrency.steps import Steps

_T = TypeVar("_T")


def finish(steps: Steps[_T]) -> _T:
    """Do all of the work and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
