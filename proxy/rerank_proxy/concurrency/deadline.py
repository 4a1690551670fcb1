"""Deadlines of calls, with the limit that sets each: errors name the limit that was exceeded."""

import asyncio
from dataclasses import dataclass

from rerank_proxy.xcontent.time_value import TimeValue


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time by which a call has to be done.

    Attributes:
        at: On the event loop's clock, in seconds.
        time: How much time there was, with its unit, as Elasticsearch prints it.
        limit: For people: what sets it, and its value.
    """

    at: float
    time: str
    limit: str

    @classmethod
    def of_setting(cls, name: str, seconds: float) -> "Deadline":
        """Return the deadline that a setting gives, from now on."""
        return cls(deadline_in(seconds), f"{seconds:g}s", f"[{name}: {seconds:g}s]")

    @classmethod
    def of_request(cls, timeout: TimeValue, *, given: bool = True) -> "Deadline":
        """Return the deadline that the `timeout` of a request, or its default, gives, from now on."""
        limit = f"[timeout: {timeout}]" + (" of the request" if given else ", which a request may set,")
        return cls(deadline_in(timeout.nanos / 1e9), str(timeout), limit)

    @property
    def name(self) -> str:
        """Return the name of what sets it, a setting or the `timeout` of a request."""
        return self.limit[1:].partition(":")[0]

    def or_sooner(self, other: "Deadline") -> "Deadline":
        """Return the earlier of the two."""
        return other if other.at < self.at else self

    def missed(self, what: str) -> str:
        """Return the message that something was not done by then.

        Args:
            what: What was not done, or what was still going on.
        """
        return f"{what}: {self.limit} has passed"


def deadline_in(seconds: float) -> float:
    """Return the time of the event loop's clock that is so many seconds from now."""
    return asyncio.get_running_loop().time() + seconds
