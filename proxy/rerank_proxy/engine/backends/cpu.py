"""The CPU cores that this process may use, and the threads that models run on.

torch is not imported here.
"""

import os
import platform
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any, Final

_ROOT = Path("/")

_MOST_WORKERS: Final = 8
"""Python's part of a batch holds the interpreter's lock, which lets no more run at the same time."""


def usable_cores(root: Path = _ROOT) -> int:
    """Return the physical cores that affinity allows, at most what the cgroup's quota pays for; at least 1.

    Hyperthreads of one core share its vector units, so that a second thread there only adds waiting to
    matrix products; containers see every core of the host, but are throttled beyond their quota.

    Args:
        root: Where `/proc` and `/sys` are.
    """
    cores = _physical_cores(root, _affinity())
    quota = _cgroup_quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def count_workers(workers: int, threads: int) -> int:
    """Return the number of workers.

    Args:
        workers: As the setting `engine.workers`; 0: one for each CPU thread, at most 8, which then have
            several threads each.
        threads: CPU threads of all together.
    """
    if workers:
        return workers
    return ceil(threads / ceil(threads / _MOST_WORKERS))


def batch_threads(threads: int, workers: int) -> int:
    """Return the CPU threads of one batch, at least 1.

    Args:
        threads: As the setting `engine.threads`.
        workers: As the setting `engine.workers`.
    """
    together = threads or usable_cores()
    return max(1, together // count_workers(workers, together))


def sleep_while_waiting() -> None:
    """Let the threads of a matrix product sleep until the slowest is done.

    Does nothing where the environment chooses otherwise. By default OpenMP's threads spin. On a core that is
    shared with another process, such as a sidecar's, spinning keeps the slowest thread from running: a batch
    then takes ten times as long. OpenMP reads the variable when torch is first imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def flags(root: Path = _ROOT) -> frozenset[str]:
    """Return the names of the processor's features as Linux gives them; none where it does not."""
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def processor_name(root: Path = _ROOT) -> str:
    """Return the name of the processor; that of its architecture where Linux does not give one."""
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def has_vnni() -> bool:
    """Return whether the processor multiplies integers of eight bits without the risk of an overflow."""
    return not flags().isdisjoint(("avx_vnni", "avx512_vnni", "amx_int8", "asimddp"))


def has_bfloat16() -> bool:
    """Return whether the processor multiplies matrices of bfloat16."""
    return not flags().isdisjoint(("amx_bf16", "avx512_bf16", "bf16"))


class DeviceThreads:
    """The number of OpenMP threads, which OpenMP keeps per thread: one for each thread that runs models.

    Args:
        threads: As the setting `engine.threads`; 0 means the cores that this process may use.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads or usable_cores()
        self._current: int | None = None

    def use(self, limit: int | None) -> None:
        """Use `limit` threads from now on, at most those of the settings; None: all of these."""
        threads = self._most if limit is None else max(1, min(limit, self._most))
        # Not there where no model runs on torch, and not yet whole while another thread imports it.
        torch: Any = sys.modules.get("torch")
        set_threads = getattr(torch, "set_num_threads", None)
        if set_threads is None or threads == self._current:
            return
        if self._current is None:
            torch.get_num_threads()  # or the thread's first operation would take over another one's number
        set_threads(threads)
        self._current = threads


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(root: Path, cpus: set[int]) -> int:
    siblings = {
        _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        for cpu in cpus
    }
    return max(1, len(siblings))


def _cgroup_quota(root: Path) -> float | None:
    """Return cores' worth of time per period: the smallest limit on the path to the root of the hierarchy."""
    limits = [limit for limit in (*_v2_limits(root), *_v1_limits(root)) if limit is not None]
    return min(limits, default=None)


def _v2_limits(root: Path) -> Iterator[float | None]:
    for directory in _cgroup_directories(root, "", root / "sys/fs/cgroup"):
        quota, _, period = (_read(directory / "cpu.max") or "").partition(" ")
        yield _ratio(quota, period)


def _v1_limits(root: Path) -> Iterator[float | None]:
    for directory in _cgroup_directories(root, "cpu", root / "sys/fs/cgroup/cpu"):
        quota = _read(directory / "cpu.cfs_quota_us") or ""
        yield _ratio(quota, _read(directory / "cpu.cfs_period_us") or "")


def _cgroup_directories(root: Path, controller: str, mount: Path) -> Iterator[Path]:
    """Yield the process's own cgroup and its ancestors. In a container the mount itself is often its own."""
    yield mount
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            relative = Path(path.lstrip("/"))
            if ".." not in relative.parts:
                yield from (mount / part for part in (relative, *relative.parents))


def _ratio(quota: str, period: str) -> float | None:
    """Return the quotient; None, for no limit, where `max`, -1 or something that is not a number is given."""
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
