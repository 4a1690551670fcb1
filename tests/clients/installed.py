"""Install the programs of clients, in the versions of the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.environments import Environment, copy_of, needs, python_with_client
from tests.clients.table import Client

PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Installed:
    """A program that can be run.

    Attributes:
        environment: What it is installed in.
        command: Runs it in that directory, without the client's arguments.
    """

    environment: Environment
    command: tuple[str, ...]


def installed(client: Client) -> Installed:
    """Return a client's program. The test is skipped where its language is missing."""
    return _BY_FOLDER[client.folder](client)


def _python(client: Client) -> Installed:
    program = PROGRAMS / "python" / "program.py"
    return Installed(python_with_client(client.version), ("bin/python", "-W", "error", str(program)))


def _javascript(client: Client) -> Installed:
    options = ("--no-audit", "--no-fund", "--no-package-lock")
    install = (needs("npm"), "install", *options, f"{client.package}@{client.version}")
    return Installed(
        copy_of(PROGRAMS / "javascript", f"javascript-{client.version}", install),
        (needs("node"), "program.js"),
    )


def _go(client: Client) -> Installed:
    """Build with one version; its major is in the paths of all imports."""
    major = client.version.partition(".")[0]
    go = needs("go")
    commands = (
        (go, "get", f"{client.package}/v{major}@v{client.version}"),
        (go, "mod", "tidy"),
        (go, "build", "-o", "program", "."),
    )
    replaced = (f"{client.package}/v9", f"{client.package}/v{major}")
    made = copy_of(PROGRAMS / "go", f"go-{client.version}", *commands, replaced=replaced)
    return Installed(made, ("./program",))


_BY_FOLDER: Final[Mapping[str, Callable[[Client], Installed]]] = {
    "python": _python,
    "javascript": _javascript,
    "go": _go,
}
