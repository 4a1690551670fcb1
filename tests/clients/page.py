"""Write docs/compatibility.md from the tables of the tests: `python -m tests.clients.page`."""

from collections.abc import Iterable, Sequence
from typing import Final

from testbed.releases import RELEASES
from tests.clients.table import CANNOT_WORK, CLIENTS, STEPS, TOOLS, Client

_HEAD: Final = """# Compatibility

What was run with the proxy, by the project's own tests. This page is made of their tables: change
`tests/clients/table.py`, then `make docs`.
"""
_CLIENTS: Final = """
A program for each client, in its own language, takes these steps through the proxy; all but the reranked
ones and `_inference` also at Elasticsearch itself. Each has to give what the same requests give without a
client. `make clients` runs them; [tests/clients/programs](../tests/clients/programs/README.md) has the
programs.
"""
_NOTEBOOKS: Final = """
The code of notebooks about reranking runs as it is published, but for the URL and where models and data
come from: `make clients NOTEBOOKS=directory` takes it from their texts.
`tests/clients/programs/notebooks/stand_ins.py` lists what stands in for other services.
"""
_DIFFERENCES: Final = """
Requests that are not reranked, and their answers, go through as they are. For reranked searches
[native behaviour](native-behaviour.md) says where the proxy differs from Elasticsearch's own reranker, and
[operations](operations.md#limits-today) lists the limits.
"""


def page() -> str:
    """Return the text of the page."""
    releases = ((release.version, _scope(at)) for at, release in enumerate(RELEASES))
    parts = [
        _HEAD,
        "\n## Elasticsearch\n\n",
        _table(("Version", "What is run against it"), releases),
        "\n## Clients\n",
        _CLIENTS,
        "\n",
        _table(("Step", "What it does"), STEPS.items()),
        "\n",
        _table(
            ("Client", "Version", "Elasticsearch", "Steps", "Left out"),
            ((each.title, each.version, _servers(each), _count(each), _left_out(each)) for each in CLIENTS),
        ),
        "\n## Tools\n\n",
        _table(
            ("Tool", "Package", "Version", "What it does through the proxy"),
            ((tool.title, f"`{tool.package}`", tool.version, tool.does) for tool in TOOLS),
        ),
        _NOTEBOOKS,
        "\n## Permitted differences\n",
        _DIFFERENCES,
        "\n## What cannot work\n\n",
        _table(("What", "Why", "What to do"), CANNOT_WORK),
    ]
    return "".join(parts)


def _scope(at: int) -> str:
    return "all tests" if at == 0 else "the tests of what differs between versions, and all clients for it"


def _servers(client: Client) -> str:
    majors = (str(major) for major in client.servers)
    return ", ".join(f"{major}.x" for major in majors)


def _count(client: Client) -> str:
    done = len(client.steps("proxy", tls=True))
    return "all" if done == len(STEPS) else f"{done} of {len(STEPS)}"


def _left_out(client: Client) -> str:
    """Return the steps that are left out, together where the reason is one."""
    by_reason: dict[str, list[str]] = {}
    for step, reason in client.lacks.items():
        by_reason.setdefault(reason, []).append(step)
    return "; ".join(f"{', '.join(steps)}: {reason}" for reason, steps in by_reason.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    print(page(), end="")
