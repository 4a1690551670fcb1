"""Run `rerank-proxy serve` as users do: as a separate process, with ports and probes."""

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families

from testbed.http import Server
from testbed.process import GuardedProcess
from testbed.progress import Reporter
from testbed.running import wait_until

_LISTENING: Final = re.compile(r"listening on (\S+), admin on (\S+), upstream")


class RunningProxy:
    """A proxy; a context manager. It is stopped when the block or this process ends.

    Args:
        upstream: The URL of its Elasticsearch, or those of several nodes.
        models: The source of each model by name.
        endpoints: The model of each endpoint id.
        state_dir: Its state directory; None for one that is removed with it.
        options: Further options of the command line.
        listen: `HOST:PORT` for clients; port 0 for any free one.
        admin: `HOST:PORT` for probes and metrics; port 0 for any free one.
        program: What is run; by default the proxy of this interpreter.

    Attributes:
        server: Where clients connect.
        admin: Where probes and metrics are served.
    """

    server: Server
    admin: Server

    def __init__(
        self,
        upstream: str | Sequence[str],
        *,
        models: Mapping[str, str | Path] | None = None,
        endpoints: Mapping[str, str] | None = None,
        state_dir: Path | None = None,
        options: Sequence[str] = (),
        listen: str = "127.0.0.1:0",
        admin: str = "127.0.0.1:0",
        reporter: Reporter | None = None,
        program: Sequence[str | Path] = (sys.executable, "-m", "rerank_proxy"),
    ) -> None:
        self._command = [*map(str, program), "serve"]
        if isinstance(upstream, str):
            self._command += ["--upstream", upstream]
        else:
            self._command += ["--upstream-urls", ",".join(upstream)]
        self._command += ["--listen", listen, "--admin", admin, *options]
        for name, source in (models or {}).items():
            self._command += ["--model", f"{name}={source}"]
        for inference_id, model in (endpoints or {}).items():
            self._command += ["--endpoint", f"{inference_id}={model}"]
        self._state_dir = state_dir
        self._reporter = reporter or Reporter()
        self._directory = Path()
        self.process: GuardedProcess | None = None

    def start(self) -> Self:
        """Start the proxy and wait until it listens; models may still be loading.

        Raises:
            TestbedError: It has ended instead; the error holds the end of its log.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="rerank-proxy-"))
        command = [*self._command, "--state-dir", str(self._state_dir or self._directory / "state")]
        process = GuardedProcess(command, log=self._directory / "log", grace_s=30)
        self.process = process
        try:
            with self._reporter.step("Starting the proxy") as step:
                match = wait_until(self._addresses, process, "rerank-proxy", 60, step, _last_line)
        except BaseException:
            self.stop()
            raise
        self.server, self.admin = (Server(_url(match[group])) for group in (1, 2))
        return self

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until its models are loaded.

        Raises:
            TestbedError: It has ended, or is not ready in time; the error shows the state of its models.
        """
        assert self.process is not None
        with self._reporter.step("Loading the model") as step:
            wait_until(
                lambda: True if self._is_ready() else None,
                self.process,
                "rerank-proxy",
                timeout_s,
                step,
                lambda log: f"its /ready says {self.readiness()}",
            )

    def readiness(self) -> Any:
        """Return the answer of `/ready`."""
        try:
            return self.admin.call("GET", "/ready", timeout_s=5).json()
        except OSError as failure:
            return str(failure)

    def metric(self, sample: str, **labels: str) -> float:
        """Return the sum of the samples in `/metrics` that have this name and these labels."""
        text = self.admin.call("GET", "/metrics").body.decode()
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return sum(
            each.value for each in samples if each.name == sample and labels.items() <= each.labels.items()
        )

    def log(self) -> str:
        assert self.process is not None
        return self.process.log_tail(200)

    def stop(self) -> int:
        """Stop the proxy in order. Return its exit status."""
        status = self.process.stop() if self.process is not None else 0
        shutil.rmtree(self._directory, ignore_errors=True)
        return status

    def _addresses(self) -> re.Match[str] | None:
        assert self.process is not None
        return _LISTENING.search(self.process.log_tail(200))

    def _is_ready(self) -> bool:
        try:
            return self.admin.call("GET", "/ready", timeout_s=5).status == 200
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _url(shown: str) -> str:
    """Return the URL of an address that the proxy says it listens on; of https it says so itself."""
    return shown if "://" in shown else f"http://{shown}"


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
