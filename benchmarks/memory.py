"""The memory of this process."""

import os
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")


def rss_mib() -> float | None:
    """Return the resident memory in MiB; None if the system does not show it."""
    if not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
