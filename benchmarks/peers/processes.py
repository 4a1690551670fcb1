"""Environments of the peers, and the processes that score in them."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS: Final = ROOT / "benchmarks" / "requirements"
ENVIRONMENTS: Final = ROOT / "build" / "bench"

ENVIRONMENT_OF: Final[Mapping[str, str | None]] = {
    "engine": None,
    "engine-int8": None,
    "sentence-transformers": None,
    "onnxruntime": "onnx",
    "onnxruntime-int8": "onnx",
    "openvino": "onnx",
    "flashrank": "onnx",
    "infinity": "infinity",
}
"""The environment of each peer; None: this one."""

_RUNNERS: Final = Path(__file__).with_name("runners.py")


class PeerError(Exception):
    """A peer that cannot be installed, or does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer took for calls at the same time.

    Attributes:
        scores: Of each text of each call.
        seconds: Until each call had its scores.
        cpu_s: Processor time of its process.
    """

    scores: Sequence[Sequence[float]]
    seconds: Sequence[float]
    wall_s: float
    cpu_s: float


@dataclass(slots=True)
class Peer:
    """A process that scores."""

    name: str
    process: "subprocess.Popen[str]"
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.version = self._read()["version"]

    def score(self, query: str, calls: Sequence[Sequence[str]]) -> Answer:
        """Make calls at the same time.

        Raises:
            PeerError: It has ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"query": query, "calls": calls}) + "\n")
        self.process.stdin.flush()
        return Answer(**self._read())

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name} has ended with status {self.process.wait()}")
        return json.loads(line)


@contextmanager
def running(name: str, directory: Path, cores: int) -> Iterator[Peer]:
    """Run a peer on so many cores.

    Raises:
        PeerError: It does not start.
    """
    python = interpreter(ENVIRONMENT_OF[name])
    own = {"OMP_NUM_THREADS": str(cores), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    own |= {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "TOKENIZERS_PARALLELISM": "true"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "proxy")])
    own |= {"PYTHONPATH": path if ENVIRONMENT_OF[name] is None else ""}
    with (
        (ENVIRONMENTS / f"{name}.log").open("wb") as log,
        subprocess.Popen(
            [python, str(_RUNNERS), name, str(directory), str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **own},
        ) as process,
    ):
        try:
            yield Peer(name, process)
        finally:
            process.terminate()


def start_all(names: Sequence[str], directory: Path, cores: int, stack: ExitStack) -> list[Peer]:
    """Start the peers that can be had; say of the others why not."""
    peers = []
    for name in names:
        try:
            peers.append(stack.enter_context(running(name, directory, cores)))
        except PeerError as error:
            print(f"left out: {error}; see {ENVIRONMENTS.relative_to(ROOT)}/{name}.log", flush=True)
    return peers


def interpreter(environment: str | None) -> str:
    """Return the Python of an environment, which is made if it is missing or its requirements have changed.

    Raises:
        PeerError: It cannot be made.
    """
    if environment is None:
        return sys.executable
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    requirements = REQUIREMENTS / f"{environment}.txt"
    directory = ENVIRONMENTS / environment
    stamp, wanted = directory / ".installed", hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = directory / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {requirements.relative_to(ROOT)} …", flush=True)
        uv = str(Path(sys.prefix) / "bin" / "uv")
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)], environment)
        _run([uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements)], environment)
        stamp.write_text(wanted)
    return str(python)


def _run(command: Sequence[str], environment: str) -> None:
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PeerError(f"the environment [{environment}] cannot be made ({reason})")
