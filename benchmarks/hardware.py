"""Describe the hardware that figures are measured on."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path


def describe() -> str:
    """Return a line: processor, cores, memory, GPU if any, and the versions of the main libraries."""
    parts = [_processor(), f"{len(os.sched_getaffinity(0))} cores", _memory()]
    parts += [_gpu(), f"Python {sys.version.split()[0]}"]
    parts += [f"{package} {version(package)}" for package in ("torch", "transformers", "aiohttp")]
    return ", ".join(part for part in parts if part)


def load_average() -> str:
    """Return the load average, which shows whether other work has slowed the benchmark."""
    return "load average " + " ".join(f"{load:.1f}" for load in os.getloadavg())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "no GPU"
