"""Directories of judgments with a pool in them, and the page of a person at work there."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from rerank_proxy.relevance.judging.desk import Desk
from rerank_proxy.relevance.judging.pool import pooled
from rerank_proxy.relevance.judging.server import SESSION, JudgingServer
from rerank_proxy.relevance.judging.texts import Document, FieldText
from rerank_proxy.relevance.judging.workspace import Plan, Workspace

POOLS: Final[Mapping[str, Sequence[str]]] = {"q1": ("d1", "d2", "d3"), "q2": ("d2", "d4")}
"""Documents by query."""


def made(path: Path, pools: Mapping[str, Sequence[str]] = POOLS, **plan: Any) -> Workspace:
    """Make a directory whose queries read `the query q1` and so on."""
    values = {"index": "films", "fields": ("title",), "systems": {"bm25": {}}, "depth": 10, "seed": 1, **plan}
    workspace = Workspace.made(path, Plan(**values, queries=len(pools)))
    with workspace.pool_file() as file:
        file.add([pooled(query, f"the query {query}", {"bm25": ids}, 10) for query, ids in pools.items()])
    return workspace


@dataclass
class Shelf:
    """The index, in memory: documents by their ids.

    Attributes:
        failure: What to raise instead.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    failure: Exception | None = None

    def put(self, name: str, **fields: str) -> None:
        self.documents[name] = [FieldText(each, text, len(text)) for each, text in fields.items()]

    async def __call__(self, ids: Sequence[str]) -> Mapping[str, Document]:
        if self.failure is not None:
            raise self.failure
        return {name: self.documents[name] for name in ids if name in self.documents}


@dataclass
class Page:
    """The server of a person's page.

    Attributes:
        addresses: Those that the terminal shows, in their order.
    """

    addresses: list[str]
    client: aiohttp.ClientSession
    session: str | None = None

    @property
    def origin(self) -> str:
        return self.addresses[0].partition("/#")[0]

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return status and body of an answer."""
        shown = {} if self.session is None else {SESSION: self.session}
        sent = {**shown, **(headers or {})}
        async with self.client.request(method, self.origin + path, json=body, headers=sent) as answer:
            return answer.status, await answer.json()

    async def enter(self) -> None:
        """Open a session with the newest address."""
        status, body = await self.call("POST", "/session", {"key": self.addresses[-1].partition("#")[2]})
        assert status == 200, body
        self.session = body["session"]


@asynccontextmanager
async def serving(workspace: Workspace, judge: str, shelf: Shelf) -> AsyncIterator[Page]:
    """Serve a person's page, in which no window is open yet."""
    addresses: list[str] = []
    with workspace.person_file(judge) as acts:
        server = JudgingServer(Desk(workspace, judge, acts, shelf), addresses.append)
        await server.start(0)
        try:
            async with aiohttp.ClientSession() as client:
                yield Page(addresses, client)
        finally:
            await server.stop()
