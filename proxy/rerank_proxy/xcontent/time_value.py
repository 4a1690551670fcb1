"""Time parameters such as `5d`, read and printed as Elasticsearch's ``TimeValue`` does."""

import re
from dataclasses import dataclass
from typing import Final

from rerank_proxy.errors import Cause, ElasticsearchError, illegal_argument
from rerank_proxy.xcontent.params import Params

_NANOS: Final = {
    "nanos": 1,
    "micros": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
}
_LONG_MAX: Final = 2**63 - 1
_LONG_MIN: Final = -(2**63)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class TimeValue:
    """A duration in nanoseconds, at most what fits a long; -1 stands for any negative duration."""

    nanos: int

    @property
    def millis(self) -> int:
        return self.nanos if self.nanos < 0 else self.nanos // _NANOS["ms"]

    def __str__(self) -> str:
        if self.nanos <= 0:
            return "-1" if self.nanos < 0 else "0s"
        unit, size = next((unit, size) for unit, size in reversed(_NANOS.items()) if self.nanos >= size)
        whole, tenths = divmod(self.nanos * 10 // size, 10)
        return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"


def time_param(params: Params, name: str) -> TimeValue | None:
    """Return the value of a parameter; None if it is absent. Raises as `parse_time_value` does."""
    text = params.get(name)
    return None if text is None else parse_time_value(text, name)


def parse_time_value(text: str, name: str) -> TimeValue:
    """Read the duration that is the value of `name`.

    Raises:
        ElasticsearchError: 400, as ``TimeValue#parseTimeValue`` words it.
    """
    normalized = text.lower().strip()
    for unit, size in _NANOS.items():
        if not normalized.endswith(unit) or (unit == "m" and not text.endswith("m")):
            continue  # `M` would be months
        count = _count(normalized.removesuffix(unit).strip(), text, name)
        return TimeValue(min(count * size, _LONG_MAX) if count >= 0 else -1)
    if re.fullmatch("-0*1", normalized):
        return TimeValue(-1)
    if re.fullmatch("0+", normalized):
        return TimeValue(0)
    raise _refusal(text, name, "unit is missing or unrecognized")


def _count(digits: str, text: str, name: str) -> int:
    is_long = re.fullmatch(r"[+-]?[0-9]{1,30}", digits) and _LONG_MIN <= int(digits) <= _LONG_MAX
    if not is_long:
        fractional = ", fractional time values are not supported" if _DECIMAL.fullmatch(digits) else ""
        cause = Cause("number_format_exception", f'For input string: "{digits}"')
        raise illegal_argument(f"failed to parse [{text}]{fractional}", caused_by=cause)
    if int(digits) < -1:
        raise _refusal(text, name, "negative durations are not supported")
    return int(digits)


def _refusal(text: str, name: str, why: str) -> ElasticsearchError:
    reason = f"failed to parse setting [{name}] with value [{text}] as a time value: {why}"
    return illegal_argument(reason)
