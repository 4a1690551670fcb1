"""Write docs/compatibility.md from the tables of the tests: `python -m tests.clients.page`."""

from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Final

from testbed.releases import RELEASES
from tests.clients.table import CANNOT_WORK, CLIENTS, STEPS, TOOLS, Client
from tests.support.permitted import BY_DESIGN, GROUPS, Group, Outcome

_HEAD: Final = """# Compatibility

What was run with the proxy, by the project's own tests. This page is made of their tables: change
`tests/clients/table.py` or `tests/support/permitted.py`, then `make docs`.
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
Requests that are not reranked, and their answers, go through as they are, byte for byte; the tests send each
API of Elasticsearch and more than a hundred odd requests both ways, and compare. They allow what is listed
here, and nothing else; the clients and tools above work the same with all of it.

For reranked searches [native behaviour](native-behaviour.md) says where the proxy differs from
Elasticsearch's own reranker, and [limits](limits.md) has the limits. The proxy's own
errors have Elasticsearch's form and headers: JSON by the name that the client gives it, `X-elastic-product`,
and `X-Opaque-Id` unless the head cannot be read. Like Elasticsearch's, they do not name the product with 401
and 403, and have no body with 413 for a length that was announced.
"""
_FORMS: Final = """
### By the form of a request

A number is the status of the answer. *Closes* means that the connection ends, *stays open* that it is not
said whether another request is read on it. In all other cases the connection takes the next request. Where
the columns are equal, the head or the words differ.
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
        "\n",
        _table(
            ("What", "Elasticsearch", "The proxy", "Why"),
            ((each.what, each.direct, each.proxied, each.why) for each in BY_DESIGN),
        ),
        _FORMS,
        *map(_group, GROUPS),
        "\n## What cannot work\n\n",
        _table(("What", "Why", "What to do"), CANNOT_WORK),
    ]
    return "".join(parts)


def _group(group: Group) -> str:
    """Return what is said of a group: requests that end alike have one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, difference in group.differences.items():
        direct = (difference.direct.get(release.major) for release in RELEASES)
        outcomes = (*("as the proxy" if each is None else _in_words(each) for each in direct),)
        rows.setdefault((*outcomes, _in_words(difference.proxied)), []).append(name)
    head = ("Request", *(f"Elasticsearch {release.version}" for release in RELEASES), "The proxy")
    table = _table(head, (("; ".join(names), *outcomes) for outcomes, names in rows.items()))
    reason = fill(f"**{group.title}.** {group.reason}", 110, break_on_hyphens=False)
    return f"\n{reason}\n\n{table}"


def _in_words(outcome: Outcome) -> str:
    *statuses, last = outcome.split()
    ends = {"open": "", "closed": "closes" if statuses else "closes without an answer"}
    if last not in ends:
        return f"{outcome}, stays open"
    return ", ".join(part for part in (" and ".join(statuses), ends[last]) if part)


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
