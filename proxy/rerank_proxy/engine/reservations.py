"""What endpoints and deployments ask of a model: reservations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one holder asks of a model: Elasticsearch's `num_threads` and allocations of a deployment."""

    threads: int | None = None
    """CPU threads that it pays for: `num_threads` times its most allocations. None: any number."""
    keep_loaded: bool = True
    """False: the model may be unloaded while no call uses it (`min_number_of_allocations` 0)."""


class Reservations:
    """The reservations of one model, by holder."""

    def __init__(self) -> None:
        self._by_holder: dict[str, Reservation] = {}

    def put(self, holder: str, reservation: Reservation) -> None:
        """Take a holder's reservation in place of its earlier one."""
        self._by_holder[holder] = reservation

    def remove(self, holder: str) -> bool:
        """Remove a holder's reservation. Return whether there was one."""
        return self._by_holder.pop(holder, None) is not None

    @property
    def keep_loaded(self) -> bool:
        """Return whether the model is to be loaded all the time."""
        return any(reservation.keep_loaded for reservation in self._by_holder.values())

    @property
    def threads(self) -> int | None:
        """The most CPU threads of a batch: the sum over all holders; None if one of them sets no limit."""
        threads = [reservation.threads for reservation in self._by_holder.values()]
        limited = [each for each in threads if each is not None]
        return sum(limited) if threads and len(limited) == len(threads) else None
