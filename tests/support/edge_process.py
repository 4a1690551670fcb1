"""An edge in a process of its own, to measure what it takes; `app_double` is its application."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class EdgeProcess:
    """A running edge.

    Attributes:
        port: Where it listens.
    """

    pid: int
    port: int

    def memory(self, which: str = "VmRSS") -> float:
        """Return how many MiB it has now, or had at most since `forget_peak` (`VmHWM`)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"^{which}:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024 / _MIB

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextmanager
def edge_process(upstream: str, directory: Path, **settings: Any) -> Iterator[EdgeProcess]:
    """Serve in front of `upstream`.

    Args:
        directory: Where the application may write.
        settings: In the form of the YAML file.
    """
    values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "upstream": upstream, **settings}
    command = [sys.executable, "-m", "tests.support.supervised", json.dumps(values), str(directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            match = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
            assert match is not None, line
            yield EdgeProcess(process.pid, int(match[1]))
        finally:
            process.kill()
