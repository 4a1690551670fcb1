"""Start a distribution as a single node on free ports, and reliably stop it."""

import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from testbed.accounts import Account, give, make_work_directory, may_enter, unprivileged_account
from testbed.distribution import Distribution
from testbed.errors import TestbedError
from testbed.http import Server, basic
from testbed.process import GuardedProcess
from testbed.progress import Reporter
from testbed.running import RunningElasticsearch, is_healthy, read_version, wait_until

_REMEDIES = (
    ("insufficient memory", "free about 1 GB of memory, or ask for a smaller heap"),
    ("Cannot allocate memory", "free about 1 GB of memory, or ask for a smaller heap"),
    ("OutOfMemoryError", "ask for a larger heap"),
    ("No space left on device", "free some disk space, or set TMPDIR to a directory with room"),
    ("BindException", "the port is taken: choose another, or stop what listens there"),
    ("Address already in use", "the port is taken: choose another, or stop what listens there"),
    ("JavaVersionChecker", "set ES_JAVA_HOME to a newer JDK"),
    (
        "AccessDeniedException",
        "set TESTBED_CACHE to a directory that every user may enter and read",
    ),
)

SERVICE_TOKEN = "elastic/kibana/testbed"
"""The name of the token of a service account that an Elasticsearch with security has."""


class Node:
    """An Elasticsearch in a temporary directory; a context manager.

    It listens on 127.0.0.1, runs as `nobody` when root starts it, and is stopped and removed with its data
    when the block or this process ends.

    Args:
        distribution: The Elasticsearch to run.
        port: The port to serve HTTP on; 0 for any free port.
        heap_mb: The size of the Java heap.
        password: Switches security on, and is the password of the user `elastic`; None leaves security off.
        roles: Further roles, as in `PUT /_security/role/{name}`.
        users: Further users with their roles, all with the same password. `SERVICE_TOKEN` has it too.
        settings: Further settings for `elasticsearch.yml`. `testbed.ranks: true` gives a node of version 9
            the retrievers that need a licence, as far as tests use them (`testbed/plugin/es9`).
        files: Further files of the configuration, by their names.
        tls: HTTP is served with TLS, as `settings` say; how its certificate is checked, and what is shown.
        timeout_s: How long the start may take.
    """

    def __init__(
        self,
        distribution: Distribution,
        *,
        port: int = 0,
        heap_mb: int = 512,
        password: str | None = None,
        roles: Mapping[str, Any] | None = None,
        users: Mapping[str, Collection[str]] | None = None,
        settings: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 120.0,
        reporter: Reporter | None = None,
    ) -> None:
        self._distribution = distribution
        self._port = port
        self._heap_mb = heap_mb
        self._password = password
        self._roles = roles or {}
        self._users = users or {}
        self._further = settings or {}
        self._files = files or {}
        self._tls = tls
        self._timeout_s = timeout_s
        self._reporter = reporter or Reporter()
        self._account = unprivileged_account()
        self.directory: Path | None = None
        """Holds its configuration, data and logs, from `start` to `stop`."""
        self._process: GuardedProcess | None = None

    @property
    def pid(self) -> int:
        """The process id of the launcher, which leads the process group of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> RunningElasticsearch:
        """Start the node and wait until it is healthy.

        Raises:
            TestbedError: It does not become healthy; nothing is left of it.
        """
        _check_free(self._port)
        try:
            with self._reporter.step(f"Starting Elasticsearch {self._distribution.version}") as step:
                directory = self.directory = make_work_directory("testbed-elasticsearch-", self._account)
                self._process = self._launch(directory)
                server = wait_until(
                    lambda: self._reach(directory),
                    self._process,
                    f"Elasticsearch {self._distribution.version}",
                    self._timeout_s,
                    step,
                    _remedy,
                )
            return RunningElasticsearch(server, read_version(server), self._distribution.origin)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the node and remove its data. May be called again."""
        if self._process is not None:
            self._process.stop()
        elif self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """Send SIGKILL to the server, to simulate a crash."""
        assert self._process is not None
        self._process.kill()

    def __enter__(self) -> RunningElasticsearch:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, directory: Path) -> GuardedProcess:
        home = self._readable_home(directory)
        for name in ("data", "logs", "tmp"):
            (directory / name).mkdir()
        config = directory / "config"
        shutil.copytree(self._distribution.home / "config", config)
        (config / "elasticsearch.yml").write_text(_yaml(self._settings(directory)), encoding="utf-8")
        for name, content in self._files.items():
            (config / name).write_bytes(content)
        if self._password is not None:
            self._write_accounts(config, self._password)
        give(directory, self._account)
        environ = self._environ(directory)
        if self._password is not None:
            _set_password(home, environ, self._password, self._account)
        return GuardedProcess(
            [home / "bin" / "elasticsearch"],
            log=directory / "console.log",
            env=environ,
            cwd=directory,
            account=self._account,
            scratch=directory,
        )

    def _write_accounts(self, config: Path, password: str) -> None:
        """Write roles and users to files, since the security API needs modules that the build may not have.

        A password that does not look like a hash is taken as plain text.
        """
        # Elasticsearch splits the file at lines that begin with a name.
        described = "".join(f"{name}: {json.dumps(role)}\n" for name, role in self._roles.items())
        (config / "roles.yml").write_text(described, encoding="utf-8")
        (config / "users").write_text(
            "".join(f"{name}:{password}\n" for name in self._users), encoding="utf-8"
        )
        lines = [f"{role}:{name}\n" for name, roles in self._users.items() for role in roles]
        (config / "users_roles").write_text("".join(lines), encoding="utf-8")
        (config / "service_tokens").write_text(f"{SERVICE_TOKEN}:{_hashed(password)}\n", encoding="utf-8")

    def _readable_home(self, directory: Path) -> Path:
        """Return the distribution, or a copy if the server's account cannot enter it (a checkout below
        /root).
        """
        home = self._distribution.home
        if may_enter(home, self._account):
            return home
        copy = directory / "home"
        shutil.copytree(home, copy, symlinks=True)
        return copy

    def _settings(self, directory: Path) -> Mapping[str, str]:
        return {
            "cluster.name": "testbed",
            "node.name": "testbed",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": str(self._port),
            "transport.port": "0",
            # Writes the ports that the system chose to logs/http.ports, as soon as they are bound.
            "node.portsfile": "true",
            "path.data": str(directory / "data"),
            "path.logs": str(directory / "logs"),
            "xpack.security.enabled": "false" if self._password is None else "true",
            # A developer's disk is often fuller than the 85 % at which shards are no longer allocated.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._distribution.settings,
            **self._further,
        }

    def _environ(self, directory: Path) -> dict[str, str]:
        """Return a clean environment: JAVA_TOOL_OPTIONS or ES_PATH_CONF of this process are not meant for it.

        TESTBED_JAVA_OPTS is: see `testbed/__init__.py`.
        """
        java = [f"-Xms{self._heap_mb}m", f"-Xmx{self._heap_mb}m", os.environ.get("TESTBED_JAVA_OPTS", "")]
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": str(directory),
            "HOSTNAME": "testbed",
            "ES_PATH_CONF": str(directory / "config"),
            "ES_TMPDIR": str(directory / "tmp"),
            "ES_JAVA_OPTS": " ".join(java).strip(),
            # The tools that prepare a start live for a second: compiling well takes longer than it saves.
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
        }
        if self._distribution.java_home is not None:
            environ["ES_JAVA_HOME"] = str(self._distribution.java_home)
        return environ

    def _reach(self, directory: Path) -> Server | None:
        ports = directory / "logs" / "http.ports"
        if not ports.exists():
            return None
        authorization = None if self._password is None else basic("elastic", self._password)
        scheme = "http" if self._tls is None else "https"
        server = Server(f"{scheme}://{ports.read_text().split()[0]}", authorization, self._tls)
        return server if is_healthy(server) else None


def _hashed(secret: str) -> str:
    """Return a hash of the form that tokens of service accounts must have (``Hasher#PBKDF2``)."""
    salt, rounds = os.urandom(32), 10_000
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, rounds, 32)
    return f"{{PBKDF2}}{rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _yaml(settings: Mapping[str, str]) -> str:
    """Write flat keys with quoted values, in which only quotes have to be escaped."""
    return "".join(f"{key}: '{value.replace(chr(39), chr(39) * 2)}'\n" for key, value in settings.items())


def _check_free(port: int) -> None:
    """Check that a port is free, which Elasticsearch would only notice ten seconds later.

    Raises:
        TestbedError: Something listens there.
    """
    if port == 0:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TestbedError(
                f"port {port} cannot be used for Elasticsearch ({error.strerror}): choose another, or stop "
                "what listens there"
            ) from error


def _set_password(home: Path, environ: Mapping[str, str], password: str, account: Account | None) -> None:
    run = subprocess.run(
        [home / "bin" / "elasticsearch-keystore", "add", "--stdin", "--force", "bootstrap.password"],
        input=password,
        capture_output=True,
        text=True,
        env=environ,
        cwd=environ["HOME"],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        timeout=60,
    )
    if run.returncode != 0:
        raise TestbedError("Elasticsearch's keystore cannot be written: see below", run.stdout + run.stderr)


def _remedy(log: str) -> str:
    for symptom, remedy in _REMEDIES:
        if symptom in log:
            return remedy
    return "see the end of its log below"
