"""Fixtures of the registry's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "deep" / "state"
