"""The servers of the benchmark of the edge: nginx as the origin, and nginx and the proxy in front of it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

import click

from rerank_proxy.settings import Settings
from testbed.debian import debian_program
from testbed.errors import TestbedError
from testbed.process import GuardedProcess
from testbed.proxy import RunningProxy
from tests.support.tls import Authority, Certificate

SMALL_ANSWER: Final = (
    '{"_index":"films","_id":"1","_version":1,"_seq_no":0,"_primary_term":1,"found":true,'
    '"_source":{"title":"Alien"}}'
)
SEARCH_ANSWER_BYTES: Final = 10 * 1024
LARGE_BYTES: Final = 10 * 1024 * 1024

# Both ends of nginx have the defaults of Debian's package, but for what would end connections.
_COMMON: Final = """
worker_processes 1;
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/errors warn;
events {{ worker_connections 1024; }}
http {{
    access_log {access_log};
    sendfile on;
    tcp_nopush on;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{http}
}}
"""
_ORIGIN: Final = """
    default_type "application/vnd.elasticsearch+json;compatible-with=9";
    add_header X-elastic-product Elasticsearch always;
    server {{
{listen}
        root {directory};
        location /films/_doc/ {{ return 200 '{small}'; }}
        location /films/_bulk {{ return 200 '{small}'; }}
        location /films/_search {{
            try_files /search.json =404;
            error_page 405 =200 /search.json;
        }}
    }}
"""
_PROXY: Final = """
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
{listen}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that is measured.

    Attributes:
        pid: The process whose time counts.
    """

    name: str
    port: int
    pid: int


def nginx_path() -> Path:
    """Return where nginx is.

    Raises:
        click.ClickException: It is not there; the message says how to get it.
    """
    try:
        return debian_program("nginx", "nginx")
    except TestbedError as failure:
        raise click.ClickException(str(failure)) from None


def nginx_version() -> str:
    """Return its name and version, as it tells them."""
    said = subprocess.run([nginx_path(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.rpartition(" ")[2].strip().replace("/", " ")


@contextmanager
def origin(directory: Path, certificate: Certificate | None = None) -> Iterator[Contestant]:
    """Run nginx with answers like Elasticsearch's, which it has ready.

    Args:
        certificate: It speaks TLS, with this one; None for plain HTTP.
    """
    directory.mkdir()
    (directory / "search.json").write_bytes(b'{"hits":"%b"}' % (b"x" * (SEARCH_ANSWER_BYTES - 11)))
    (directory / "large.json").write_bytes(b"x" * LARGE_BYTES)
    port = _free_port()
    http = _ORIGIN.format(listen=_listen(port, certificate), directory=directory, small=SMALL_ANSWER)
    with _nginx(directory, http, port) as process:
        yield Contestant("direct", port, process.pid)


@contextmanager
def nginx_proxy(
    directory: Path, origin_port: int, certificate: Certificate | None, *, logs: bool
) -> Iterator[Contestant]:
    """Run nginx as a proxy that keeps its connections to the origin.

    Args:
        logs: It writes its access log, as Debian's package and nginx itself have it by default.
    """
    directory.mkdir()
    port = _free_port()
    http = _PROXY.format(listen=_listen(port, certificate), origin=origin_port)
    with _nginx(directory, http, port, access_log=str(directory / "access") if logs else "off") as process:
        yield Contestant("nginx" if logs else "no log", port, process.pid)


@contextmanager
def rerank_proxy(
    name: str, origin_port: int, certificate: Certificate | None, checkout: Path | None = None
) -> Iterator[Contestant]:
    """Run the proxy. Its application runs, too, but gets no request and is not measured.

    Args:
        certificate: It speaks TLS, with this one; None for plain HTTP.
        checkout: Another checkout of the project, whose proxy is run.
    """
    options = []
    if certificate is not None:
        options = ["--tls-cert", str(certificate.path), "--tls-key", str(certificate.key_path)]
    path = {} if checkout is None else {"PYTHONPATH": f"{checkout}:{checkout / 'proxy'}"}
    with (
        patch.dict(os.environ, path),
        RunningProxy(f"http://127.0.0.1:{origin_port}", options=options) as proxy,
    ):
        assert proxy.process is not None
        proxy.wait_ready()
        yield Contestant(name, int(proxy.server.url.rpartition(":")[2]), proxy.process.pid)


def speaks_tls() -> bool:
    """Return whether this proxy can speak TLS to its clients."""
    return "tls" in Settings.model_fields


def certificate_for(directory: Path) -> Certificate:
    """Return a certificate of an authority that is made for it."""
    directory.mkdir()
    return Authority(directory).issue()


@contextmanager
def _nginx(directory: Path, http: str, port: int, access_log: str = "off") -> Iterator[GuardedProcess]:
    configuration = directory / "nginx.conf"
    configuration.write_text(_COMMON.format(directory=directory, http=http, access_log=access_log))
    command = [str(nginx_path()), "-p", str(directory), "-c", str(configuration)]
    with GuardedProcess(command, log=directory / "log") as process:
        while not _accepts(port):
            if process.poll() is not None:
                raise click.ClickException(f"nginx has ended: {process.log_tail(3)}")
            time.sleep(0.05)
        yield process


def _listen(port: int, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"        listen 127.0.0.1:{port};"
    return f"""
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.path};
        ssl_certificate_key {certificate.key_path};"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
