"""Threads and allocations that no deployment of a model may have
(``StartTrainedModelDeploymentAction.Request#validate``).
"""

from collections.abc import Iterator
from typing import Final

MAX_THREADS: Final = 32
NUMBER_AND_ADAPTIVE: Final = "[number_of_allocations] cannot be set if adaptive allocations is enabled"


def threads_faults(threads: int) -> Iterator[str]:
    if threads > MAX_THREADS or threads.bit_count() != 1:
        yield f"[threads_per_allocation] must be a power of 2 less than or equal to {MAX_THREADS}"
