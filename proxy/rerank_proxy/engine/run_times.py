"""When the rows of a call waited and when they ran, out of the batches that they were in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Attributes

Interval = tuple[float, float]
"""Begin and end in seconds, on `stages.clock`."""


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The time of a call in the queue and on workers.

    It waits while none of its rows run, also between two of its batches, when those of other calls have
    their turns.

    Attributes:
        waited, ran: What the time between `submitted` and `ended` consists of, in order.
    """

    submitted: float
    ended: float
    waited: Sequence[Interval]
    ran: Sequence[Interval]
    batches: int

    @property
    def waited_s(self) -> float:
        return sum(ended - began for began, ended in self.waited)

    def tell(self, attributes: Attributes) -> None:
        """Note the stages `queue` and `score`, each with one span.

        Args:
            attributes: Of what ran.
        """
        for began, ended in self.waited:
            stages.note("queue", began, ended)
        for began, ended in self.ran:
            stages.note("score", began, ended)
        span = stages.current().span
        if span is None:
            return
        first = self.ran[0][0] if self.ran else self.ended
        span.child("queue", self.submitted).end(first)
        if self.ran:
            counts = {"rerank_proxy.batches": self.batches, "rerank_proxy.waited_ms": self.waited_s * 1000}
            span.child("score", first, {**attributes, **counts}).end(self.ended)


def run_times(submitted: float, ended: float, batches: Iterable[Interval]) -> RunTimes:
    """Return when a call waited, and when it ran.

    Args:
        batches: When those ran that had rows of it, in any order. Rows that it shares with other calls may
            have run before it was submitted.
    """
    waited: list[Interval] = []
    ran: list[Interval] = []
    count, until = 0, submitted
    for began, over in sorted(batches):
        began, over = max(began, submitted), min(over, ended)
        if began >= over:
            continue
        count += 1
        if began > until:
            waited.append((until, began))
        if ran and began <= ran[-1][1]:
            ran[-1] = (ran[-1][0], max(ran[-1][1], over))
        else:
            ran.append((began, over))
        until = max(until, over)
    if until < ended:
        waited.append((until, ended))
    return RunTimes(submitted, ended, waited, ran, count)
