"""A short soak run, and that it finds what does not hold. `make soak` is a long one."""

import asyncio
import platform
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.builds import BROKEN, NO_TOKEN, STRICT
from benchmarks.soak.calls import Around, Call, draw, fits, wrong_scores
from benchmarks.soak.faults import EXIT, POISON
from benchmarks.soak.leftovers import Sample, growth, growths
from benchmarks.soak.models import GUESTS, HANGING, LOSING, PLUGIN, World, make_world
from benchmarks.soak.run import Soak
from rerank_proxy.engine import (
    DeadlineExceededError,
    DeadlineUnreachableError,
    EngineClosedError,
    InferenceError,
    ModelFailedError,
    QueueFullError,
    Scores,
    UnknownModelError,
)
from tests.support.project import ROOT

SEED = 0
"""Of a run whose first engine is closed after its calls, and whose second under them."""

SHORT = ("bert", "late", "package", "generating", BROKEN, STRICT, PLUGIN, LOSING, HANGING)
"""Few models: an episode loads each of them again and again."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("sys.path", [*sys.path])
        yield asyncio.run(make_world(tmp_path_factory.mktemp("soak"), texts=8, names=SHORT))


def soak(world: World, shown: list[str]) -> Soak:
    return Soak(world, seed=SEED, callers=10, calls=3, show=shown.append)


async def test_everything_holds(world: World) -> None:
    shown: list[str] = []
    run = soak(world, shown)
    assert await run.run(lambda episodes: episodes < 2) == []
    ends = run.record.ends
    assert ends.total() == run.record.begun > 0
    assert ends["scored"] > ends.total() / 4
    assert {"cancelled", "ModelFailedError", "InferenceError"} <= set(ends)


async def test_a_wrong_score_is_found(world: World) -> None:
    table = {key: score + 1 if key[0] == PLUGIN else score for key, score in world.table.items()}
    (finding, *_) = await soak(replace(world, table=table), []).run(lambda episodes: episodes < 1)
    assert f"[{PLUGIN}]" in finding
    assert "and alone" in finding


def test_growth_is_along_the_line_that_fits_after_the_warm_up() -> None:
    assert growth([(0.0, 5.0)] * 7) is None
    samples = [(float(at), 500.0 if at > 2 else 100.0 * at) for at in range(12)]
    assert growth(samples) == pytest.approx(0.0)
    assert growth([(at * 10.0, 100.0 + at) for at in range(30)]) == pytest.approx(19.0)


def test_threads_and_files_may_not_become_more_after_the_warm_up() -> None:
    samples = [Sample(at, 800.0, 170.0, 10**6, 6 + (at == 2), 9 + (at > 8)) for at in range(12)]
    assert growths(samples[:7]) is None
    assert {bound.what: grown for bound, grown in growths(samples) or ()} == pytest.approx(
        {
            "MiB in use": 0,
            "Python objects": 0,
            "MiB resident": 0,
            "threads": -1,
            "open files": 1,
        }
    )


MEASURING = """
from benchmarks.soak.leftovers import Sample

before = Sample.now(0.0)
with open("/dev/null", "rb"):
    kept = [[b"x" * 200_000] for _ in range(100)]
    more = Sample.now(1.0)
print(more.live_mib - before.live_mib, more.files - before.files, more.objects - before.objects)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do not tell")
def test_what_is_in_use_is_measured() -> None:
    """In a process of its own, in which nothing else is freed or closed meanwhile."""
    made = subprocess.run(
        [sys.executable, "-c", MEASURING], capture_output=True, text=True, check=True, cwd=ROOT
    )
    live_mib, files, objects = map(float, made.stdout.split())
    assert live_mib == pytest.approx(100 * 200_000 / 2**20, rel=0.1)
    assert files == 1
    assert objects >= 100


def test_a_seed_repeats_its_calls(world: World) -> None:
    drawn, again = ([draw(rng, world) for _ in range(50)] for rng in (random.Random("7"), random.Random("7")))
    assert drawn == again
    assert drawn != [draw(random.Random("8"), world) for _ in range(50)]
    assert any(call.deadline_s is not None for call in drawn)
    assert any(call.cancel_s is not None for call in drawn)


@pytest.mark.parametrize(
    ("call", "error", "around"),
    [
        (Call("bert", "", [], deadline_s=1.0), DeadlineExceededError("late"), Around()),
        (Call("bert", "", [], deadline_s=1.0), DeadlineUnreachableError("late"), Around()),
        (Call("bert", "", []), QueueFullError("full"), Around(crowded=True)),
        (Call(GUESTS[0], "", []), UnknownModelError("gone"), Around(removed=True)),
        (Call(BROKEN, "", []), ModelFailedError("broken"), Around()),
        (Call(PLUGIN, "", [POISON[0]], poisoned=True), InferenceError("it failed"), Around()),
        (Call(STRICT, "", [NO_TOKEN], poisoned=True), InferenceError("it failed"), Around()),
        (Call(LOSING, "", [EXIT], poisoned=True), InferenceError("it was lost"), Around()),
        (Call(LOSING, "", []), InferenceError("it was lost"), Around(lost=True)),
        (Call("bert", "", []), EngineClosedError("closed"), Around(closed=True)),
    ],
)
def test_an_error_fits_only_what_was_done_to_the_call(call: Call, error: Exception, around: Around) -> None:
    assert fits(call, error, around)
    assert not fits(Call("bert", "", []), error, Around())
    assert not fits(call, RuntimeError("a bug"), around)


def test_scores_are_compared_with_those_of_each_text_alone() -> None:
    call, table = Call("m", "q", ["a", "b"]), {("m", "q", "a"): 1.0, ("m", "q", "b"): 2.0}
    world = World({}, {}, ["a", "b"], table, Path())

    def wrong(call: Call, *scores: Any) -> str:
        return str(wrong_scores(call, Scores(*scores), world, Around()))

    assert wrong_scores(call, Scores([1.0, 2.0], [True, False]), world, Around()) is None
    assert "alone 2.0" in wrong(call, [1.0, 2.1])
    assert "alone 2.0" in wrong(call, [1.0, float("nan")])
    assert "1 scores for 2 texts" in wrong(call, [1.0])
    assert "3 were remembered" in wrong(call, [1.0, 2.0], [True] * 3)
    assert "has none" in wrong(replace(call, poisoned=True), [1.0, 2.0])
    guest = replace(call, model=GUESTS[0])
    assert wrong_scores(guest, Scores([1.0, 2.0]), world, Around(stands_for="m")) is None
