"""How many examples a property draws, relative to the suite's profile (`tests/conftest.py`)."""

import hypothesis


def examples(times: float) -> hypothesis.settings:
    """Return settings with so many times the examples of the profile.

    Args:
        times: Below 1 for properties whose examples are costly; above 1 where few examples meet what matters.
    """
    return hypothesis.settings(max_examples=max(1, round(times * hypothesis.settings().max_examples)))
