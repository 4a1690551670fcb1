"""What the endpoints that use a model want of it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """One holder's wishes. In Elasticsearch they are `num_threads` and the allocations of a deployment."""

    threads: int | None = None
    """CPU threads that it pays for: `num_threads` times its most allocations. None: any number."""
    keep_loaded: bool = True
    """False: the model may be unloaded while nobody calls it (`min_number_of_allocations` 0)."""


def allowed_threads(demands: Iterable[Demand]) -> int | None:
    """CPU threads for a batch of a model with these holders; None when nobody bounds them."""
    threads = [demand.threads for demand in demands]
    bounded = [each for each in threads if each is not None]
    return sum(bounded) if threads and len(bounded) == len(threads) else None
