"""Numbers as Java prints them."""

import math
from decimal import Decimal
from typing import Final

_PLAIN_FROM: Final = 1e-3
_PLAIN_BELOW: Final = 1e7


def print_double(value: float) -> str:
    """``Double.toString`` of Java 19 and later: `1.0`, `100000.0`, `1.23456785E7`, `-0.0`, `Infinity`."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return repr(value)  # Python's spelling is Java's here
    two_digits = f"{value:.1e}"
    # Of one digit, Java takes the nearest two instead: 4.9E-324, where Python has 5e-324.
    shortest = two_digits if float(two_digits) == value else repr(value)
    sign, digits, exponent = Decimal(shortest).as_tuple()
    text = "".join(map(str, digits))
    fraction = text[1:].rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}.{fraction}E{int(exponent) + len(text) - 1}"
