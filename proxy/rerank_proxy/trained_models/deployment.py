"""Deployments of uploaded models, as they are started, changed and kept (``TrainedModelAssignment``)."""

from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.inference.local_models import adaptive_faults

UNSET: Final = -1
"""Removes a number of adaptive allocations, in an update."""


@dataclass(frozen=True, slots=True)
class AdaptiveAllocations:
    """``AdaptiveAllocationsSettings``. None stands for a setting that is not given."""

    enabled: bool | None = None
    min_number_of_allocations: int | None = None
    max_number_of_allocations: int | None = None

    def document(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"enabled": bool(self.enabled)}
        if self.min_number_of_allocations is not None:
            shown["min_number_of_allocations"] = self.min_number_of_allocations
        if self.max_number_of_allocations is not None:
            shown["max_number_of_allocations"] = self.max_number_of_allocations
        return shown

    def faults(self) -> list[str]:
        """Return a message for each fault."""
        least, most = _number(self.min_number_of_allocations), _number(self.max_number_of_allocations)
        return list(adaptive_faults(least, most))

    def merged(self, update: "AdaptiveAllocations") -> "AdaptiveAllocations":
        """Return these settings with those of an update, in which `UNSET` removes a number."""
        low, high = update.min_number_of_allocations, update.max_number_of_allocations
        return AdaptiveAllocations(
            self.enabled if update.enabled is None else update.enabled,
            self.min_number_of_allocations if low is None else _number(low),
            self.max_number_of_allocations if high is None else _number(high),
        )


def _number(value: int | None) -> int | None:
    return None if value == UNSET else value


@dataclass(frozen=True, slots=True)
class Deployment:
    """A started deployment of a model.

    Attributes:
        cache_size: As it was given, such as `10mb`. Shown but not followed: the engine has one cache for all.
        queue_capacity: The most documents of one request; `engine.queue_tokens` bounds what waits.
        start_time: Milliseconds since the epoch.
    """

    deployment_id: str
    model_id: str
    number_of_allocations: int
    threads_per_allocation: int
    queue_capacity: int
    cache_size: str
    priority: str
    start_time: int
    adaptive_allocations: AdaptiveAllocations | None = None

    @property
    def _adaptive(self) -> AdaptiveAllocations | None:
        adaptive = self.adaptive_allocations
        return adaptive if adaptive is not None and adaptive.enabled else None

    @property
    def threads(self) -> int | None:
        """CPU threads that it may use; None for any number."""
        adaptive = self._adaptive
        allocations = self.number_of_allocations if adaptive is None else adaptive.max_number_of_allocations
        return None if allocations is None else allocations * self.threads_per_allocation

    @property
    def keep_loaded(self) -> bool:
        """True if its model stays loaded while it is idle."""
        return self._adaptive is None or self._adaptive.min_number_of_allocations != 0
