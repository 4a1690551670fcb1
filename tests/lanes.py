"""Run the whole suite as several pytest processes side by side: `python -m tests.lanes [OPTIONS OF PYTEST]`.

The tests against a real Elasticsearch mostly wait, for it and for processes of the proxy; those of models and
of the relay, and the others, mostly compute. What each lane says is shown as if one had run after the other,
then the slowest tests of all lanes and the last line of each.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from heapq import nlargest
from pathlib import Path
from typing import IO, Final
from xml.etree import ElementTree as ET

import pytest

_OF_MODELS: Final = (
    "tests/live/test_hangs.py",
    "tests/unit/engine/loading/test_models_page.py",
    "tests/unit/engine/loading/test_repository.py",
    "tests/unit/test_cli.py",
)
"""They import torch, as those of models do, and need no Elasticsearch."""
_OTHERS: Final = tuple(f"--ignore={file}" for file in _OF_MODELS)
LANES: Final = {
    "quick": ("tests/unit", *_OTHERS),
    "models": ("tests/models", *_OF_MODELS, "tests/edge"),
    "live": ("tests/live", *_OTHERS),
}
"""The relay's tests are beside those of models, so that each takes about as long as the others."""
RESULTS: Final = Path("build/tests")
"""Has the log of each lane, and its results as JUnit XML."""
_SLOWEST: Final = 20
_LOOK_S: Final = 0.2


class Lane:
    """A running pytest."""

    def __init__(self, name: str, options: Sequence[str], results: Path = RESULTS) -> None:
        self.name: Final = name
        self._log: Final = results / f"{name}.log"
        self.results: Final = results / f"{name}.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={self.results}"]
        command += [f"--override-ini=cache_dir=.pytest_cache/{name}"]
        command += ["--color=yes"] if sys.stdout.isatty() else []
        with self._log.open("wb") as log:
            self._process: Final = subprocess.Popen(
                [*command, *options, *LANES[name]], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def show(self, to: IO[bytes]) -> int:
        """Copy its log while it is written, to the end. Return the exit status."""
        with self._log.open("rb") as log:
            while True:
                ended = self._process.poll() is not None  # asked first: what is written last is read then
                to.write(log.read())
                to.flush()
                if ended:
                    return self._process.returncode
                time.sleep(_LOOK_S)

    def last_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def slowest(results: Iterable[Path], most: int = _SLOWEST) -> list[tuple[float, str]]:
    """Return the seconds and node ids of the tests that took longest, set-up included.

    Args:
        results: Files of JUnit XML; one that a pytest did not live to write is left out.
    """
    cases = [case for file in results if file.exists() for case in ET.parse(file).iter("testcase")]
    return nlargest(most, ((float(case.get("time", "0")), _node_id(case)) for case in cases))


def _node_id(case: ET.Element) -> str:
    parts = case.get("classname", "").split(".")
    module = next((at for at, part in enumerate(parts, 1) if part.startswith("test_")), len(parts))
    return "::".join(["/".join(parts[:module]) + ".py", *parts[module:], case.get("name", "")])


def run_lanes(options: Sequence[str], to: IO[bytes], results: Path = RESULTS) -> int:
    """Run all lanes. Return the exit status for the whole."""
    results.mkdir(parents=True, exist_ok=True)
    for left in results.glob("*.xml"):
        left.unlink()
    lanes: list[Lane] = []
    try:
        lanes += [Lane(name, options, results) for name in LANES]
        statuses = [lane.show(to) for lane in lanes]
    finally:
        for lane in lanes:
            lane.end()
    to.write(b"the slowest tests:\n")
    for seconds, test in slowest(lane.results for lane in lanes):
        to.write(f"{seconds:7.1f} s  {test}\n".encode())
    for lane in lanes:
        to.write(f"{lane.name}: {lane.last_line()}\n".encode())
    to.flush()
    return whole(statuses)


def whole(statuses: Sequence[int]) -> int:
    """Return the first failure, where a lane in which nothing was selected is none beside another."""
    selected = [status for status in statuses if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    if not selected:
        return pytest.ExitCode.NO_TESTS_COLLECTED
    return next((status for status in selected if status != pytest.ExitCode.OK), pytest.ExitCode.OK)


def names_tests(options: Sequence[str]) -> bool:
    """Return whether a path is among them, so that pytest alone chooses what runs."""
    return any(Path(option.partition("::")[0]).exists() for option in options)


def main(options: Sequence[str]) -> int:
    if names_tests(options):
        return subprocess.call([sys.executable, "-m", "pytest", *options])
    return run_lanes(options, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
