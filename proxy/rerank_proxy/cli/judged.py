"""What the commands of `judge` do once there are judgments: compare judges, and write what they said."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from rich.table import Table

from rerank_proxy.cli.judging import failing
from rerank_proxy.cli.options import die
from rerank_proxy.cli.output import print_json, print_line, print_table
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.writing import write_judgments
from rerank_proxy.relevance.judging import provenance
from rerank_proxy.relevance.judging.acts import Act, Pair, grades_of
from rerank_proxy.relevance.judging.agreement import agreements
from rerank_proxy.relevance.judging.settling import Rule, Settled, settle
from rerank_proxy.relevance.judging.workspace import (
    ENDPOINT,
    Machine,
    Workspace,
    all_grades,
    machine_name,
    person_grades,
)
from rerank_proxy.relevance.judgments import Query


def agreement_command(directory: Path, *, as_json: bool) -> None:
    """Show how far each two judges agree."""
    with failing():
        workspace = Workspace.opened(directory)
        judged = all_grades(workspace.persons(), workspace.machines())
        found = agreements(judged, workspace.plan.highest)
    if as_json:
        print_json(found)
        return
    if not found:
        die("no two judges have graded the same document yet", 1)
    names = ("documents", "equal", "kappa", "linear", "quadratic", "relevant")
    table = Table("between", *names)
    for each in found:
        table.add_row(" and ".join(each["between"]), *(_shown(each[name]) for name in names))
    print_table(table)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def write_command(directory: Path, out: Path, names: Sequence[str], undecided: str) -> None:
    """Write judgments, and beside them where they come from."""
    with failing():
        workspace = Workspace.opened(directory)
        persons, machines = workspace.persons(), workspace.machines()
        if names:
            persons, machines = _chosen(directory, names, persons, machines)
        else:
            machines = {}
        settled = settle(
            person_grades(persons),
            {} if names else grades_of(workspace.resolutions()),
            {name: grades for name, (_, grades) in machines.items()},
            cast("Rule", undecided),
        )
        if not settled.grades:
            raise RelevanceError(f"{directory}: there are no grades to write yet")
        pools = workspace.pool()
        queries = {name: Query(name, pool.text) for name, pool in pools.items()}
        judgments, sources = _by_query(settled, queries)
        write_judgments(out, judgments, queries=queries, sources=sources)
        told = provenance.told(workspace, settled, persons, machines, datetime.now(UTC))
        beside = provenance.write(out, told)
    _print_written(out, beside, told)


def _chosen(
    directory: Path,
    names: Sequence[str],
    persons: Mapping[str, list[Act]],
    machines: Mapping[str, tuple[Machine, dict[Pair, int]]],
) -> tuple[dict[str, list[Act]], dict[str, tuple[Machine, dict[Pair, int]]]]:
    """Return those of these names. An endpoint may be called as it is elsewhere: `endpoint:ID`."""
    kept, asked = {}, {}
    for given in names:
        endpoint = machine_name(given.removeprefix(ENDPOINT))
        if given in persons:
            kept[given] = persons[given]
        elif endpoint in machines:
            asked[endpoint] = machines[endpoint]
        else:
            known = ", ".join([*persons, *(f"{ENDPOINT}{name}" for name in machines)]) or "none yet"
            raise RelevanceError(f"{given} has not judged in {directory}; those who have: {known}")
    return kept, asked


def _by_query(
    settled: Settled, queries: Mapping[str, Query]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, str]]]:
    """Return grades and their sources by query, in the order of the queries."""
    grades: dict[str, dict[str, int]] = {}
    sources: dict[str, dict[str, str]] = {}
    for (query, document), grade in settled.grades.items():
        grades.setdefault(query, {})[document] = grade
        sources.setdefault(query, {})[document] = settled.sources[query, document]
    return {query: grades[query] for query in queries if query in grades}, sources


def _print_written(out: Path, beside: Path, told: Mapping[str, Any]) -> None:
    counted = ", ".join(f"{count} of grade {grade}" for grade, count in told["grades"].items())
    print_line(f"wrote {out}: {counted}; {told['unjudged']} of the pool are not judged")
    if told["without_decision"]:
        print_line(f"persons differ about {told['without_decision']}: decide in the browser, under Compare")
    for each in told["judges"]:
        if each["kind"] == "endpoint":
            print_line(f"{each['grades']} are by {each['endpoint']}: not for {each['not_for']}")
    print_line(f"wrote {beside}: who has judged, when and how")
