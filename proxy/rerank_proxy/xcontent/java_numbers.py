"""Numbers as Java prints them."""

import math
from decimal import Decimal
from typing import Final

import numpy as np

_PLAIN_FROM: Final = 1e-3
_PLAIN_BELOW: Final = 1e7


def print_double(value: float) -> str:
    """Print a double as ``Double.toString`` of Java 19 and later does: `1.0`, `1.23456785E7`, `-0.0`."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return repr(value)  # Python's spelling is Java's here
    two_digits = f"{value:.1e}"
    # Instead of a single digit Java prints the nearest two: 4.9E-324, where Python has 5e-324.
    shortest = two_digits if float(two_digits) == value else repr(value)
    sign, digits, exponent = Decimal(shortest).as_tuple()
    text = "".join(map(str, digits))
    fraction = text[1:].rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}.{fraction}E{int(exponent) + len(text) - 1}"


def print_float(value: float) -> bytes:
    """Print a float32 as ``Float.toString`` does, which is how `_score` is printed: `1.0`, `1.7014122E38`."""
    number = np.float32(value)
    if 1e-3 <= value < 1e5:
        return str(number).encode()  # NumPy's spelling is Java's here, and quick
    mantissa, exponent = _shortest(number)
    negative = mantissa.startswith("-")
    digits = mantissa.lstrip("-").replace(".", "")
    if value == 0:
        text = "0.0"
    elif -3 <= exponent < 7:
        text = _plain(digits, exponent)
    else:
        text = f"{digits[0]}.{digits[1:] or '0'}E{exponent}"
    return ("-" + text if negative else text).encode()


def _shortest(value: np.float32) -> tuple[str, int]:
    """Return the fewest digits that read back as the same float32, and the exponent.

    Instead of a single digit Java prefers two that are nearer.
    """
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    if len(mantissa.lstrip("-")) == 1:
        nearer = f"{float(value):.1e}"
        if np.float32(nearer) == value:
            mantissa, exponent = nearer.split("e")
            mantissa = mantissa.removesuffix(".0")
    return mantissa, int(exponent)


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :] or '0'}"
