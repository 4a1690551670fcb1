"""Cores are counted on machines made of files; threads sleep while they wait."""

import os
from pathlib import Path

import pytest

from rerank_proxy.engine.backends import cpu


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def test_every_processor_without_further_knowledge(tmp_path: Path) -> None:
    assert cpu.usable_cores(tmp_path) == 4


def test_two_threads_of_a_core_count_once(tmp_path: Path) -> None:
    for number in range(4):
        path = f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        write(tmp_path, path, "0,2" if number % 2 == 0 else "1,3")
    assert cpu.usable_cores(tmp_path) == 2


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("900000 100000", 4),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    assert cpu.usable_cores(tmp_path) == cores


def test_quota_of_an_ancestor_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/pods/pod7/main")
    write(tmp_path, "sys/fs/cgroup/pods/cpu.max", "300000 100000")
    write(tmp_path, "sys/fs/cgroup/pods/pod7/cpu.max", "200000 100000")
    write(tmp_path, "sys/fs/cgroup/pods/pod7/main/cpu.max", "max 100000")
    assert cpu.usable_cores(tmp_path) == 2


@pytest.mark.parametrize(("quota", "cores"), [("-1", 4), ("100000", 1), ("300000", 3)])
def test_quota_of_cgroup_v1(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path, "proc/self/cgroup", "5:memory:/other\n4:cpu,cpuacct:/box")
    write(tmp_path, "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000")
    assert cpu.usable_cores(tmp_path) == cores


def test_nonsense_is_not_a_limit(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", "what?")
    write(tmp_path, "proc/self/cgroup", "0::/../../elsewhere")
    assert cpu.usable_cores(tmp_path) == 4


def test_this_machine() -> None:
    assert cpu.usable_cores() >= 1


@pytest.mark.parametrize(("chosen", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, policy: str
) -> None:
    # Set first in either case, so that the change is undone afterwards.
    monkeypatch.setenv("OMP_WAIT_POLICY", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    cpu.sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == policy
