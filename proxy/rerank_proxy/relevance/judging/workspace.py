"""The directory of a judging: what is judged, by whom, and what they said.

    judging.json            the plan: index, fields, systems, scale, judges
    pool.jsonl              a line for each query with the documents to judge
    persons/NAME.jsonl      the acts of a person
    endpoints/NAME.jsonl    the scores of an endpoint, and how they become grades in NAME.json
    resolved.jsonl          what was decided where judges differed

It holds ids and queries. Texts of documents stay in the index.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_if_exists, write
from rerank_proxy.relevance.growing import LineFile, read_lines
from rerank_proxy.relevance.judging.acts import Act, Pair, grades_of, scored
from rerank_proxy.relevance.judging.grading import Grading, InvalidGradingError
from rerank_proxy.relevance.judging.pool import Pooled, dealt

T = TypeVar("T")

SCALE: Final = (
    "does not answer the query at all",
    "touches on the subject",
    "answers a part of the query, or all of it among other things",
    "is what was looked for",
)
"""What the grades mean unless it is said otherwise."""
RESOLVED: Final = "resolved"
"""The name in place of a judge's for what was decided between judges."""
ENDPOINT: Final = "endpoint:"
"""Stands before the name of a judge that is an endpoint, wherever persons are named too."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POOL: Final = "pool.jsonl"
_MAX_PLAN: Final = 1 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is judged, and how.

    Attributes:
        index: Names of indices, as in a search.
        fields: What a judge sees of a document.
        systems: The retrievers that are pooled, as templates, by their names.
        depth: Hits taken of each.
        seed: Of every order and division.
        scale: What each grade means, from 0 up.
        judges: Among whom queries are divided; empty if everyone gets all.
        shared: The share of queries that each of them gets.
        queries: How many there are.
    """

    index: str
    fields: tuple[str, ...]
    systems: dict[str, Any]
    depth: int
    seed: int
    scale: tuple[str, ...] = SCALE
    judges: tuple[str, ...] = ()
    shared: float = 0.2
    queries: int
    version: int = 1

    @property
    def highest(self) -> int:
        """The highest grade."""
        return len(self.scale) - 1


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint as judge.

    Attributes:
        endpoint: Its inference id.
        service, model: As the proxy shows them; None where it does not.
        fields: What of a document was scored, joined by line breaks.
        prompt: What it was asked for each document, for a chat model; None for a reranker.
    """

    endpoint: str
    service: str | None
    model: str | None
    fields: tuple[str, ...]
    prompt: str | None
    grading: Grading
    asked_at: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory of judgments whose plan is made."""

    path: Path
    plan: Plan

    @classmethod
    def opened(cls, path: Path) -> "Workspace":
        """Open a directory.

        Raises:
            RelevanceError: There is no plan in it, or it is damaged.
        """
        return cls(
            path, _read(path / "judging.json", Plan, f"make it with: rerank-proxy judge pool {path} …")
        )

    @classmethod
    def made(cls, path: Path, plan: Plan) -> "Workspace":
        """Write a plan, or go on with the same one. As long as nothing is pooled, another takes its place.

        Raises:
            RelevanceError: Something is pooled by another plan, or it cannot be written.
        """
        file = path / "judging.json"
        if read_lines(path / _POOL, Pooled):
            found = cls.opened(path).plan
            if found != plan:
                raise RelevanceError(
                    f"{file}: was made with {_difference(found, plan)}; go on with the same, or take another "
                    "directory"
                )
        else:
            _write(file, plan)
        return cls(path, plan)

    def pool_file(self) -> LineFile[Pooled]:
        """Return the pool, to be opened for adding to it."""
        return LineFile(self.path / _POOL, Pooled, f"{self.path} is being pooled by another process")

    def pool(self) -> dict[str, Pooled]:
        """Return the pools by the ids of their queries.

        Raises:
            RelevanceError: The file is damaged, or not all queries are there.
        """
        pools = {pooled.query: pooled for pooled in read_lines(self.path / _POOL, Pooled)}
        if len(pools) < self.plan.queries:
            raise RelevanceError(
                f"{self.path}: {len(pools)} of {self.plan.queries} queries are pooled: run the same "
                "rerank-proxy judge pool again, which does the others"
            )
        return dict(sorted(pools.items()))

    def hand(self, judge: str) -> list[str]:
        """Return the ids of the queries that a person gets, in the order of judging.

        Raises:
            RelevanceError: The queries are divided among others.
        """
        judges = self.plan.judges
        if judges and judge not in judges:
            raise RelevanceError(f"the queries are divided among {', '.join(judges)}: {judge} gets none")
        queries = [*self.pool()]
        if not judges:
            return dealt(queries, [judge], 1.0, self.plan.seed)[judge]
        return dealt(queries, judges, self.plan.shared, self.plan.seed)[judge]

    def person_file(self, judge: str) -> LineFile[Act]:
        """Return a person's file, to be opened for judging."""
        check_name(judge)
        busy = f"{judge} is judging in another window already: end that first, or judge under another name"
        return LineFile(self.path / "persons" / f"{judge}.jsonl", Act, busy)

    def resolved_file(self) -> LineFile[Act]:
        """Return the file of decisions between judges, to be opened."""
        busy = "another person is resolving conflicts already: end that first"
        return LineFile(self.path / f"{RESOLVED}.jsonl", Act, busy)

    def machine_file(self, name: str) -> LineFile[Act]:
        """Return an endpoint's file, to be opened for scoring."""
        return LineFile(
            self.path / "endpoints" / f"{name}.jsonl",
            Act,
            f"{name} is being asked by another process already",
        )

    def persons(self) -> dict[str, list[Act]]:
        """Return the acts of all persons by their names.

        Raises:
            RelevanceError: A file is damaged.
        """
        return {file.stem: self._acts(file) for file in sorted((self.path / "persons").glob("[!.]*.jsonl"))}

    def resolutions(self) -> list[Act]:
        """Return what was decided between judges; raise as `persons`."""
        return self._acts(self.path / f"{RESOLVED}.jsonl")

    def machines(self) -> dict[str, tuple[Machine, dict[Pair, int]]]:
        """Return the endpoints that were asked, and their grades, by their names; raise as `persons`."""
        return {name: self._machine(name) for name in self._machine_names()}

    def machine(self, name: str) -> Machine | None:
        """Return an endpoint that was asked; None if it was not.

        Raises:
            RelevanceError: Its file is damaged.
        """
        file = self.path / "endpoints" / f"{name}.json"
        return _read(file, Machine, "remove it") if file.exists() else None

    def keep_machine(self, name: str, machine: Machine) -> None:
        """Write who an endpoint is and how its scores become grades. Other bounds apply to scores that are
        there; another model or prompt does not go with them.

        Raises:
            RelevanceError: There are scores of another one, or it cannot be written.
        """
        former = self.machine(name)
        if former is not None and self._scores(name):
            for what in ("endpoint", "service", "model", "prompt", "fields"):
                if getattr(former, what) != getattr(machine, what):
                    raise RelevanceError(
                        f"{name} has judged here with another {what} before: remove "
                        f"{self.path / 'endpoints' / name}.json and .jsonl to begin anew"
                    )
        _write(self.path / "endpoints" / f"{name}.json", machine)

    def _machine_names(self) -> Iterator[str]:
        for file in sorted((self.path / "endpoints").glob("[!.]*.json")):
            yield file.stem

    def _machine(self, name: str) -> tuple[Machine, dict[Pair, int]]:
        machine = self.machine(name)
        assert machine is not None  # its file was listed
        return machine, machine.grading.grades(self._scores(name))

    def _scores(self, name: str) -> dict[Pair, float]:
        return scored(read_lines(self.path / "endpoints" / f"{name}.jsonl", Act))

    def _acts(self, file: Path) -> list[Act]:
        acts = read_lines(file, Act)
        for number, act in enumerate(acts, 1):
            if act.grade is not None and not 0 <= act.grade <= self.plan.highest:
                raise RelevanceError(
                    f"{file}: act {number} has the grade {act.grade}, and the scale is from 0 to "
                    f"{self.plan.highest}"
                )
        return acts


def person_grades(persons: Mapping[str, list[Act]]) -> dict[str, dict[Pair, int | None]]:
    """Return what counts of each person's acts."""
    return {name: grades_of(acts) for name, acts in persons.items()}


def all_grades(
    persons: Mapping[str, list[Act]], machines: Mapping[str, tuple[Machine, Mapping[Pair, int]]]
) -> dict[str, Mapping[Pair, int | None]]:
    """Return the grades of persons and of endpoints, by names that tell which is which."""
    return {
        **person_grades(persons),
        **{f"{ENDPOINT}{name}": grades for name, (_, grades) in machines.items()},
    }


def check_name(name: str) -> None:
    """Refuse a name of a judge that cannot be the name of a file and stand in a column.

    Raises:
        RelevanceError: It cannot.
    """
    if _NAME.fullmatch(name) is None or name == RESOLVED:
        raise RelevanceError(
            f"{name!r} cannot be the name of a judge: take up to 64 letters of a to z, digits, dots, dashes "
            f"and underscores, and not {RESOLVED!r}"
        )


def machine_name(endpoint: str) -> str:
    """Return the name under which an endpoint judges: its id, as far as it can be the name of a file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", endpoint).lstrip(".")[:64] or "endpoint"


def _read(file: Path, kind: type[T], remedy: str) -> T:
    content = read_if_exists(file, _MAX_PLAN)
    if content is None:
        raise RelevanceError(f"{file}: is missing; {remedy}")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, InvalidGradingError, UnicodeDecodeError, RecursionError) as error:
        raise RelevanceError(f"{file}: is damaged: {error}") from None


def _write(file: Path, value: Any) -> None:
    write(file, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", 0o600)


def _difference(found: Plan, wanted: Plan) -> str:
    names = [field for field in Plan.__struct_fields__ if getattr(found, field) != getattr(wanted, field)]
    name = names[0]
    old, new = getattr(found, name), getattr(wanted, name)
    if name == "systems":
        return "other systems"
    return f"{name} {_short(old)} rather than {_short(new)}"


def _short(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:200]
