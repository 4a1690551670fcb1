"""Programs that the tests obtain themselves: what becomes of a test where one cannot be had."""

import os
from typing import Final, NoReturn

import pytest

VARIABLE: Final = "CI"
"""Services that check changes set it. There a test that does not run would pass for one that has passed."""


def cannot_be_had(why: str) -> NoReturn:
    """Skip the test for want of a program; where `CI` is set, fail it.

    Args:
        why: What is missing, with the remedy.
    """
    if os.environ.get(VARIABLE, "").lower() in ("", "0", "false"):
        pytest.skip(why)
    pytest.fail(f"{why} ({VARIABLE} is set, where nothing may be missing)", pytrace=False)
