"""How far long work has come."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many steps of it are finished, and how many there are."""


def steps(progress: Progress, what: str, total: int) -> Callable[[], None]:
    """Tell that work begins, and return what tells of one more step whenever it is called."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(what, done, total)

    progress(what, 0, total)
    return step
