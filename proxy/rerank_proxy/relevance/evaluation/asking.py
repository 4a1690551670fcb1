"""Asks all systems all queries: first for what is measured, then one at a time for how long it takes."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.relevance.client.index_state import IndexState
from rerank_proxy.relevance.client.searching import RefusedError, Searcher
from rerank_proxy.relevance.evaluation.answers import Answer
from rerank_proxy.relevance.journal import Journal, key_of
from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.systems import System
from rerank_proxy.relevance.templates import rerankers_in
from rerank_proxy.relevance.workers import work_on

IN_A_ROW: Final = 5
"""After so many failures in a row a system is not asked any more."""
_WARMING: Final = 2
"""Searches of a system before one is timed."""

Done = Callable[[], None]
"""Called when a search is answered, or will not be."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A query that a system did not answer.

    Attributes:
        kind: `refused`, or `skipped`: answered in first-stage order because scoring failed.
    """

    query: str
    kind: str
    reason: str


@dataclass(slots=True)
class Asked:
    """What came of a system.

    Attributes:
        answers: By the id of the query.
        timed: Of searches that were sent one at a time, for their times alone.
        failures: Those that are not among the answers.
        kept: How many of the answers are of an earlier run.
        given_up: Whether it was not asked any more, after failures in a row.
        in_a_row: Failures since the last answer.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    timed: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    kept: int = 0
    given_up: bool = False
    in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """An evaluation's searches.

    Attributes:
        state: The state of the index: what was asked before counts only if it is the same.
        depth: How many hits are measured.
    """

    searcher: Searcher
    journal: Journal[Answer]
    index: str
    state: IndexState
    depth: int

    async def ask(self, systems: Sequence[System], queries: Sequence[Query], done: Done) -> dict[str, Asked]:
        """Ask every system every query, and return what came, by the names of the systems.

        All systems get a query before the next one, so that a stop leaves queries whose systems can be
        compared, and a slow minute of the machine is every system's.

        Raises:
            UnreachableError: The server is not there any more. What was answered is kept.
        """
        asked = {system.name: Asked() for system in systems}

        async def one(of: tuple[System, Query]) -> None:
            system, query = of
            await self._one(system, query, asked[system.name])
            done()

        await work_on(
            [(each, query) for query in queries for each in systems], one, self.searcher.concurrency
        )
        return asked

    async def time(
        self, systems: Sequence[System], queries: Sequence[Query], asked: Mapping[str, Asked], done: Done
    ) -> None:
        """Time searches one at a time, systems in turn, after some that are not counted.

        A random word is added to what the model reads for the query, so that no score comes from a cache of
        pairs of query and text; vectors of texts may. What is found then is not measured.
        """
        warmed: set[str] = set()
        for place, query in enumerate(queries):
            for system in systems:
                mine = asked[system.name]
                key = self._key(system, query, "timed", place)
                if not mine.given_up and (kept := self.journal.get(key)) is not None:
                    mine.timed.append(kept)
                elif not mine.given_up:
                    await self._time(system, query, key, mine, warm=system.name not in warmed)
                    warmed.add(system.name)
                done()

    async def _time(self, system: System, query: Query, key: str, asked: Asked, *, warm: bool) -> None:
        try:
            for _ in range(_WARMING if warm else 0):
                await self.searcher.search(self.index, self._fresh_body(system, query))
            found = await self.searcher.search(self.index, self._fresh_body(system, query))
        except RefusedError:
            return
        if found.skipped is None and found.attempts == 1:
            answer = Answer((), found.took_ms, found.x_rerank)
            asked.timed.append(answer)
            self.journal.add(key, answer, system=system.name, query=query.id, timed="alone")

    async def _one(self, system: System, query: Query, asked: Asked) -> None:
        key = self._key(system, query)
        if (kept := self.journal.get(key)) is not None:
            asked.answers[query.id] = kept
            asked.kept += 1
            return
        if asked.given_up:
            asked.failures.append(Failure(query.id, "refused", "not asked any more, after failures in a row"))
            return
        try:
            found = await self.searcher.search(self.index, system.body(query.text, self.depth))
        except RefusedError as error:
            self._failed(asked, Failure(query.id, "refused", f"{error.status}: {error.reason}"))
            return
        if (reason := found.skipped) is not None:
            self._failed(asked, Failure(query.id, "skipped", reason))
            return
        asked.in_a_row = 0
        asked.answers[query.id] = Answer(tuple(found.hits), found.took_ms, found.x_rerank)
        self.journal.add(key, asked.answers[query.id], system=system.name, query=query.id)

    def _failed(self, asked: Asked, failure: Failure) -> None:
        asked.failures.append(failure)
        asked.in_a_row += 1
        asked.given_up = asked.in_a_row >= IN_A_ROW

    def _key(self, system: System, query: Query, *more: Any) -> str:
        body = system.body(query.text, self.depth)
        endpoints = {name: self.state.endpoints.get(name) for name in system.endpoints()}
        return key_of(self.searcher.url, self.index, self.state.fingerprint, endpoints, body, *more)

    def _fresh_body(self, system: System, query: Query) -> dict[str, Any]:
        body = system.body(query.text, self.depth)
        for reranker in rerankers_in(body):
            if isinstance(reranker, dict) and isinstance(reranker.get("inference_text"), str):
                reranker["inference_text"] += f" {secrets.token_hex(4)}"
        return body
