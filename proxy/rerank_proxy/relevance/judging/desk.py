"""What a person at work sees and does: queries with their progress, the documents of one, and grades."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rerank_proxy.relevance.growing import LineFile
from rerank_proxy.relevance.judging.acts import Act, Pair, grades_of, now, record
from rerank_proxy.relevance.judging.agreement import Conflict, agreements, conflicts
from rerank_proxy.relevance.judging.pool import Pooled, shuffled
from rerank_proxy.relevance.judging.texts import Document, Texts
from rerank_proxy.relevance.judging.workspace import Workspace, person_grades


class UnknownError(Exception):
    """A query, a document or a grade that is not in this work. The message is for people."""


class Desk:
    """The work of one person.

    Args:
        acts: The person's file, which is open.
        texts: Where the documents come from.
    """

    def __init__(self, workspace: Workspace, judge: str, acts: LineFile[Act], texts: Texts) -> None:
        self._workspace = workspace
        self._judge = judge
        self._acts = acts
        self._texts = texts
        self._pools: Mapping[str, Pooled] = workspace.pool()
        self._hand: Sequence[str] = workspace.hand(judge)
        self._grades = grades_of(acts.lines)
        self._turn = asyncio.Lock()

    def work(self) -> dict[str, Any]:
        """Return what is to be done: the scale, and the queries with how many documents are judged."""
        plan = self._workspace.plan
        return {
            "judge": self._judge,
            "index": plan.index,
            "scale": [*plan.scale],
            "queries": [self._progress(query) for query in self._hand],
        }

    def _progress(self, query: str) -> dict[str, Any]:
        pool = self._pools[query]
        given = [self._grades[query, each] for each in pool.documents if (query, each) in self._grades]
        return self._counted(query, len(pool.documents), len(given), given.count(None))

    def _counted(self, query: str, documents: int, judged: int, unsure: int = 0) -> dict[str, Any]:
        return {
            "id": query,
            "text": self._pools[query].text,
            "documents": documents,
            "judged": judged,
            "unsure": unsure,
        }

    async def query(self, query: str) -> dict[str, Any]:
        """Return the documents of a query, in this person's order, with what was said of them.

        Raises:
            UnknownError: It is not one of this person's.
            RelevanceError: The index cannot be asked.
        """
        if query not in self._hand:
            raise UnknownError(f"there is no query {query!r} for {self._judge}")
        order = shuffled(self._pools[query], self._workspace.plan.seed, self._judge)
        return await self._shown(query, order, self._grades)

    async def _shown(
        self, query: str, order: Sequence[str], grades: Mapping[Pair, int | None]
    ) -> dict[str, Any]:
        texts = await self._texts(order)
        return {
            "id": query,
            "text": self._pools[query].text,
            "documents": [_shown(each, texts.get(each), (query, each), grades) for each in order],
        }

    async def grade(self, query: str, document: str, grade: int | None, *, unsure: bool) -> dict[str, Any]:
        """Save what the person says of a document: a grade, that it is unsure, or neither, which takes back.

        Returns:
            The progress of the query.

        Raises:
            UnknownError: There is no such document or grade.
            RelevanceError: It cannot be saved.
        """
        if query not in self._hand:
            raise UnknownError(f"there is no query {query!r} for {self._judge}")
        act = self._act(query, document, grade, unsure=unsure)
        async with self._turn:
            await asyncio.to_thread(self._acts.add, [act])
            record(act, self._grades)
        return self._progress(query)

    def _act(
        self, query: str, document: str, grade: int | None, *, unsure: bool, by: str | None = None
    ) -> Act:
        if document not in self._pools[query].documents:
            raise UnknownError(f"there is no document {document!r} in the pool of query {query!r}")
        if grade is not None and (unsure or not 0 <= grade <= self._workspace.plan.highest):
            raise UnknownError(f"a grade is from 0 to {self._workspace.plan.highest}, or unsure")
        return Act(query, document, grade=grade, unsure=unsure, by=by, at=now())

    def _others(self) -> tuple[dict[str, dict[Pair, int | None]], list[Conflict], dict[Pair, int | None]]:
        """Read what all judges have said by now, in what they differ, and what was decided.

        What others have judged and this person has not judged yet is left out, so that the page does not show
        a grade before this person has given one.
        """
        judged = person_grades(self._workspace.persons())
        found = [
            each
            for each in conflicts(judged)
            if each.query in self._pools and (self._judge in each.grades or each.query not in self._hand)
        ]
        return judged, found, grades_of(self._workspace.resolutions())

    async def conflicts(self) -> dict[str, Any]:
        """Return how far the judges agree, and the queries with conflicts.

        Raises:
            RelevanceError: A judge's file is damaged.
        """
        judged, found, resolved = await asyncio.to_thread(self._others)
        queries: dict[str, list[Conflict]] = {}
        for each in found:
            queries.setdefault(each.query, []).append(each)
        return {
            "agreement": agreements(judged, self._workspace.plan.highest),
            "queries": [
                self._counted(query, len(each), sum((query, one.document) in resolved for one in each))
                for query, each in queries.items()
            ],
        }

    async def conflict(self, query: str) -> dict[str, Any]:
        """Return the documents of a query about which judges differ, with the grades of each.

        Raises:
            UnknownError: There is no conflict about it.
            RelevanceError: The index cannot be asked, or a judge's file is damaged.
        """
        _, found, resolved = await asyncio.to_thread(self._others)
        given = {each.document: each.grades for each in found if each.query == query}
        if not given:
            raise UnknownError(f"there is no conflict about the query {query!r}")
        shown = await self._shown(query, [*given], resolved)
        for document in shown["documents"]:
            document["given"] = given[document["id"]]
        return shown

    async def resolve(self, query: str, document: str, grade: int | None, *, unsure: bool) -> dict[str, Any]:
        """Save what is decided between judges, and return the progress of the query; raise as `grade`."""
        if query not in self._pools:
            raise UnknownError(f"there is no query {query!r}")
        act = self._act(query, document, grade, unsure=unsure, by=self._judge)
        async with self._turn:
            await asyncio.to_thread(self._decide, act)
        _, found, resolved = await asyncio.to_thread(self._others)
        mine = [each for each in found if each.query == query]
        judged = sum((query, each.document) in resolved for each in mine)
        return self._counted(query, len(mine), judged)

    def _decide(self, act: Act) -> None:
        with self._workspace.resolved_file() as file:
            file.add([act])


def _shown(
    name: str, document: Document | None, pair: Pair, grades: Mapping[Pair, int | None]
) -> dict[str, Any]:
    return {
        "id": name,
        "missing": document is None,
        "fields": [
            {"name": each.name, "text": each.text, "characters": each.characters} for each in document or ()
        ],
        "grade": grades.get(pair),
        "unsure": pair in grades and grades[pair] is None,
    }
