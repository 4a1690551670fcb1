"""When the garbage collector does not run.

A module of its own, because it is imported before what takes long to import.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Import within without garbage collection, which takes an eighth of the time of large imports.

    Modules make many objects and hardly any garbage, and the collector goes through all of them again and
    again. It belongs to the whole process: what is done within must be bounded.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
