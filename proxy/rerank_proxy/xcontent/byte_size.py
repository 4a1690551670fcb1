"""Sizes such as `10mb`, read and printed as Elasticsearch's ``ByteSizeValue`` does."""

import re
from dataclasses import dataclass
from typing import Final

from rerank_proxy.errors import Cause, ElasticsearchError, error

_UNITS: Final = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}
_SIZE: Final = re.compile(r"(?P<number>.*?)\s*(?P<unit>[kmgtp]?b|[kmgtp])", re.DOTALL)
_LONG_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ByteSize:
    """A size in bytes, kept in the unit that it was given in."""

    count: int
    unit: str = "b"

    @property
    def bytes(self) -> int:
        return self.count * _UNITS[self.unit]

    @property
    def as_given(self) -> str:
        """The size as ``getStringRep`` gives it, which reads back as the same."""
        return f"{self.count}{self.unit}"

    def __str__(self) -> str:
        """Return the size in the largest unit that it fills, with one decimal: `1.5kb`."""
        unit, size = next(
            (unit, size) for unit, size in reversed(_UNITS.items()) if self.bytes >= size or size == 1
        )
        tenths = self.bytes * 10 // size
        return f"{tenths // 10}.{tenths % 10}{unit}" if tenths % 10 else f"{tenths // 10}{unit}"


def parse_byte_size(text: str, name: str) -> ByteSize:
    """Read the size that is the value of the setting `name`.

    Raises:
        ElasticsearchError: 400, as ``ByteSizeValue#parseBytesSizeValue`` words it.
    """
    lower = text.lower().strip()
    if lower == "0":
        return ByteSize(0)
    match = _SIZE.fullmatch(lower)
    if match is None:
        raise _refusal(text, name, " as a size in bytes: unit is missing or unrecognized")
    number = match["number"].strip()
    unit = match["unit"] if match["unit"].endswith("b") else match["unit"] + "b"
    if re.fullmatch(r"[+-]?[0-9]{1,19}", number) is None or int(number) * _UNITS[unit] > _LONG_MAX:
        raise _refusal(text, name, "", Cause("number_format_exception", f'For input string: "{number}"'))
    if int(number) < 0:
        raise _refusal(text, name, "", Cause("illegal_argument_exception", "Values less than -1 bytes"))
    return ByteSize(int(number), unit)


def _refusal(text: str, name: str, why: str, cause: Cause | None = None) -> ElasticsearchError:
    reason = f"failed to parse setting [{name}] with value [{text}]{why}"
    return error(400, "parse_exception", reason, caused_by=cause)
