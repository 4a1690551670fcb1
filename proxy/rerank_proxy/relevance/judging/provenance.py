"""Where judgments come from: a file of JSON beside the file of judgments, whose own form has no place for it.

TREC's form has a column for it, the iteration, which programs for measures do not look at; it holds who has
given each grade. The other forms have none.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from rerank_proxy.relevance import files
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.acts import Act, Pair
from rerank_proxy.relevance.judging.agreement import agreements
from rerank_proxy.relevance.judging.settling import Settled
from rerank_proxy.relevance.judging.workspace import ENDPOINT, Machine, Workspace, all_grades

SUFFIX: Final = ".judged.json"
_MAX_BYTES: Final = 1 << 20


def place_of(judgments: Path) -> Path:
    """Return the file that tells where the judgments of another one come from."""
    return judgments.with_name(judgments.name + SUFFIX)


def models_of(judgments: Path) -> list[str]:
    """Return the models and endpoints that have given grades in a file of judgments: those that must not be
    evaluated with it. None are known without the file beside it.

    Raises:
        RelevanceError: That file is damaged.
    """
    path = place_of(judgments)
    content = files.read_if_exists(path, _MAX_BYTES)
    if content is None:
        return []
    try:
        judges = msgspec.json.decode(content, type=_Told).judges
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RelevanceError(f"{path}: is damaged; write the judgments again") from None
    machines = [each for each in judges if isinstance(each, _EndpointJudge) and each.grades > 0]
    return [name for each in machines for name in (each.endpoint, each.model) if name]


class _PersonJudge(msgspec.Struct, tag_field="kind", tag="person"):
    pass


class _EndpointJudge(msgspec.Struct, tag_field="kind", tag="endpoint"):
    grades: int
    endpoint: str
    model: str | None


class _Told(msgspec.Struct):
    judges: list[_PersonJudge | _EndpointJudge]


def told(
    workspace: Workspace,
    settled: Settled,
    persons: Mapping[str, list[Act]],
    machines: Mapping[str, tuple[Machine, Mapping[Pair, int]]],
    made_at: datetime,
) -> dict[str, Any]:
    """Return what there is to tell about judgments."""
    plan = workspace.plan
    documents = sum(len(pool.documents) for pool in workspace.pool().values())
    by = Counter(source for sources in settled.sources.values() for source in sources.split("+"))
    return {
        "made_at": made_at.isoformat(timespec="seconds"),
        "index": plan.index,
        "fields": [*plan.fields],
        "pool": {
            "systems": [*plan.systems],
            "depth": plan.depth,
            "queries": plan.queries,
            "documents": documents,
        },
        "scale": {str(grade): meaning for grade, meaning in enumerate(plan.scale)},
        "grades": {str(grade): count for grade, count in sorted(Counter(settled.grades.values()).items())},
        "unjudged": documents - len(settled.grades),
        "without_decision": settled.open,
        "unsure": settled.unsure,
        "judges": [
            *(_person(name, acts, by[name]) for name, acts in persons.items()),
            *(_machine(name, machine, by[f"{ENDPOINT}{name}"]) for name, (machine, _) in machines.items()),
        ],
        "agreement": [
            {name: value for name, value in each.items() if name != "table"}
            for each in agreements(all_grades(persons, machines), plan.highest)
        ],
    }


def _person(name: str, acts: list[Act], grades: int) -> dict[str, Any]:
    times = sorted(act.at for act in acts if act.at)
    return {
        "name": name,
        "kind": "person",
        "grades": grades,
        "from": times[0] if times else None,
        "to": times[-1] if times else None,
    }


def _machine(name: str, machine: Machine, grades: int) -> dict[str, Any]:
    who = machine.model or machine.endpoint
    return {
        "name": name,
        "kind": "endpoint",
        "grades": grades,
        "endpoint": machine.endpoint,
        "service": machine.service,
        "model": machine.model,
        "prompt": machine.prompt,
        "scores_became_grades_by": {"way": machine.grading.way, "bounds": [*machine.grading.bounds]},
        "asked_at": machine.asked_at,
        "not_for": f"evaluating {who}, or a model trained on its scores: it would be measured by itself",
    }


def write(judgments: Path, values: Mapping[str, Any]) -> Path:
    """Write what there is to tell beside a file of judgments, and return where.

    Raises:
        RelevanceError: It cannot be written.
    """
    path = place_of(judgments)
    files.write(path, msgspec.json.format(msgspec.json.encode(values), indent=2) + b"\n")
    return path
