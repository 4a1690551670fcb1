"""Run the official image, with the project's compose file."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from testbed.errors import TestbedError
from testbed.http import Server
from testbed.process import GuardedProcess
from testbed.progress import Reporter
from testbed.releases import Release
from testbed.running import RunningElasticsearch, is_healthy, read_version, wait_until

COMPOSE_FILE = Path(__file__).resolve().parent.parent / "compose.yaml"
SERVICE = "elasticsearch"
_PROBE_TIMEOUT_S = 10.0
_START_TIMEOUT_S = 180.0
_PULL_TIMEOUT_S = 1800.0


def engine_answers(docker: str | None = None) -> bool:
    """Tell whether a Docker engine answers, not just its client, and has the compose plugin."""
    docker = docker or shutil.which("docker")
    if docker is None:
        return False
    return _succeeds([docker, "version", "--format", "{{.Server.Version}}"]) and _succeeds(
        [docker, "compose", "version"]
    )


def compose_command(project: str, *arguments: str) -> list[str]:
    """Return a `docker compose` command for a separate project, which does not touch any of the user's."""
    return ["docker", "compose", "--file", str(COMPOSE_FILE), "--project-name", project, *arguments]


def compose_environ(release: Release, port: int, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment that the compose file reads: the version, and the port on this machine."""
    return {**environ, "ELASTICSEARCH_VERSION": release.version, "ELASTICSEARCH_PORT": str(port)}


def pull(release: Release, reporter: Reporter) -> None:
    """Fetch the image, unless the engine has it.

    Raises:
        TestbedError: The engine cannot fetch it.
    """
    environ = compose_environ(release, 0)
    with reporter.step(f"Pulling the image of Elasticsearch {release.version}"):
        run = _run(
            compose_command(_project(), "pull", "--policy", "missing", SERVICE), environ, _PULL_TIMEOUT_S
        )
    if run.returncode != 0:
        raise TestbedError(
            f"Docker cannot pull Elasticsearch {release.version}: check the network, or set ES_SOURCE to "
            "maven or download to get it another way",
            run.stdout[-2000:],
        )


@contextmanager
def container(release: Release, reporter: Reporter) -> Iterator[RunningElasticsearch]:
    """Run the service in a container, which is removed with its data when the block or this process ends.

    `docker compose up` runs in the foreground under the guard, whose SIGTERM stops the container.

    Raises:
        TestbedError: It does not become healthy.
    """
    port = _free_port()
    environ = compose_environ(release, port)
    project = _project()
    with TemporaryDirectory() as directory:
        up = compose_command(project, "up", "--no-deps", "--no-log-prefix", "--no-color", SERVICE)
        try:
            with GuardedProcess(up, log=Path(directory) / "console.log", env=environ, grace_s=30) as process:
                server = Server(f"http://127.0.0.1:{port}")
                with reporter.step(f"Starting Elasticsearch {release.version} in a container") as step:
                    wait_until(
                        lambda: is_healthy(server) or None,
                        process,
                        "the container of Elasticsearch",
                        _START_TIMEOUT_S,
                        step,
                        lambda log: "see the end of its log below, or set ES_SOURCE to maven or download",
                    )
                yield RunningElasticsearch(server, read_version(server), "the official image, by Docker")
        finally:
            _run(compose_command(project, "down", "--volumes", "--timeout", "10"), environ, 60)


def _project() -> str:
    return f"rerank-proxy-testbed-{os.getpid()}"


def _free_port() -> int:
    """Return a port that is free now: Docker does not tell which port it chooses before the
    container runs.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _succeeds(command: list[str]) -> bool:
    try:
        return _run(command, os.environ, _PROBE_TIMEOUT_S).returncode == 0
    except (OSError, TestbedError):
        return False


def _run(
    command: list[str], environ: Mapping[str, str], timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise TestbedError(
            f"[{' '.join(command)}] has not ended after {timeout_s:.0f} s: check the Docker engine"
        ) from None
