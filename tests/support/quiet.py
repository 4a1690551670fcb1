"""Progress of long work, where a test does not look at it."""


def quiet(what: str, done: int, total: int) -> None:
    """Take progress, and show nothing."""
