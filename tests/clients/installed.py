"""Install the programs of clients, in the versions of the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.environments import Environment, copy_of, needs, python_with, python_with_client
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


def _dsl(client: Client) -> Installed:
    program = PROGRAMS / "dsl" / "program.py"
    return Installed(python_with_client(client.version), ("bin/python", "-W", "error", str(program)))


def _opensearch(client: Client) -> Installed:
    program = PROGRAMS / "opensearch" / "program.py"
    made = python_with(f"{client.package}=={client.version}")
    return Installed(made, ("bin/python", "-W", "error", str(program)))


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


def _java(client: Client) -> Installed:
    build = ("--quiet", f"-Dclient.version={client.version}", "package", "dependency:copy-dependencies")
    made = copy_of(PROGRAMS / "java", f"java-{client.version}", (needs("mvn"), *build))
    return Installed(made, (needs("java"), "-cp", "target/classes:target/dependency/*", "Program"))


def _rust(client: Client) -> Installed:
    """Build in a directory that is removed: all that the crate depends on takes half a gigabyte."""
    cargo = needs("cargo")
    crate = f"{client.package}@={client.version}"
    commands = (
        (cargo, "add", "--quiet", crate, "--no-default-features", "--features", "rustls-tls"),
        (cargo, "install", "--quiet", "--debug", "--no-track", "--path", ".", "--root", "."),
    )
    made = copy_of(PROGRAMS / "rust", f"rust-{client.version}", *commands)
    return Installed(made, ("bin/program",))


_BY_FOLDER: Final[Mapping[str, Callable[[Client], Installed]]] = {
    "python": _python,
    "javascript": _javascript,
    "go": _go,
    "java": _java,
    "rust": _rust,
    "dsl": _dsl,
    "opensearch": _opensearch,
}
