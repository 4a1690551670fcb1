"""Watch where processes of Python connect to that are started with this environment, and their children.

A hook of the interpreter (`sys.addaudithook`) writes down every name that is looked up and every address that
a socket connects or sends to, before it happens. uvloop connects without the interpreter's sockets, so the
processes run on asyncio's loop. Libraries that connect in native code mostly heed `HTTPS_PROXY`, which names
a port of the test's own: a connection to it shows in `trapped`.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_HOOK: Final = """
import json, os, sys

sys.modules["uvloop"] = None
_file = os.open(os.environ["WATCHED_CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0]
    else:
        return
    if isinstance(where, bytes):
        where = where.decode()
    os.write(_file, json.dumps([event, list(where) if isinstance(where, tuple) else where]).encode() + b"\\n")


sys.addaudithook(_watch)
"""


@dataclass(frozen=True)
class Watched:
    """What the processes did.

    Attributes:
        environment: What they are to be started with.
    """

    environment: Mapping[str, str]
    _file: Path
    _trap: socket.socket

    def events(self) -> list[tuple[str, Any]]:
        """Return each event with what it was about: a name, a path, or an address as a list."""
        if not self._file.exists():
            return []
        return [(event, where) for event, where in map(json.loads, self._file.read_text().splitlines())]

    def destinations(self) -> set[tuple[str, int]]:
        """Return the addresses of the network that were connected to."""
        return {
            (where[0], where[1])
            for event, where in self.events()
            if not event.endswith("addrinfo") and isinstance(where, list)
        }

    def names(self) -> set[str]:
        """Return the names that were resolved."""
        return {where for event, where in self.events() if where is not None and "get" in event}

    def trapped(self) -> bool:
        """Return whether anything has tried to connect by way of a proxy of the web."""
        try:
            connection, _ = self._trap.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


@contextmanager
def watched_connections(directory: Path) -> Iterator[Watched]:
    """Make the environment of processes that are watched.

    Args:
        directory: For the hook and its file.
    """
    hooks = directory / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(_HOOK)
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        file = directory / "connections"
        paths = [str(hooks), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            "PYTHONPATH": os.pathsep.join(paths),
            "WATCHED_CONNECTIONS": str(file),
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), proxy),
        }
        yield Watched(environment, file, trap)
