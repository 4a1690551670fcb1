"""The times of lines of the log, in milliseconds. What is common to all of a second is made once."""

import time
from functools import lru_cache


def local_time(at: float) -> str:
    """Return a UNIX time as lines for people begin with it."""
    return f"{_local_second(int(at))},{int(at * 1000) % 1000:03d}"


def utc_time(at: float) -> str:
    """Return a UNIX time as ECS writes it."""
    return f"{_utc_second(int(at))}.{int(at * 1000) % 1000:03d}Z"


@lru_cache(2)
def _local_second(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@lru_cache(2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
