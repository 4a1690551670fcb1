"""How figures are written for people, in reports, cards and on the terminal."""

import math
from typing import Final

NONE: Final = "\N{EN DASH}"
"""Stands in a table for a number that there is none of."""
MINUS: Final = "\N{MINUS SIGN}"


def number(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def signed(value: float) -> str:
    """Write a difference: with its sign, also that of 0.000 below zero, which is none."""
    text = f"{value:+.3f}"
    return "0.000" if text.strip("+-") == "0.000" else text.replace("-", MINUS)


def p_of(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(low: float, high: float) -> str:
    return NONE if math.isnan(low) else f"{signed(low)} to {signed(high)}"
