"""The machine that measured: where a client's milliseconds come from."""

import os
import platform
from pathlib import Path
from typing import Final

from rerank_proxy.observe.build import installed

_PACKAGES: Final = ("rerank-proxy", "ir-measures", "numpy", "matplotlib", "aiohttp")


def client_facts() -> dict[str, str]:
    """Return processor, cores, load and versions, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    facts = {"processor": _processor(), "cores": str(cores), "system": platform.system()}
    if hasattr(os, "getloadavg"):
        facts["load average"] = f"{os.getloadavg()[0]:.1f}"
    return {**facts, "Python": platform.python_version(), **installed(_PACKAGES)}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
