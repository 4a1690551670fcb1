"""A relay in front of a real Elasticsearch that notes what passes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.relay import relay


@dataclass(frozen=True)
class Passed:
    """A request that went upstream.

    Attributes:
        headers: With their values, by name in any case.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class Recording:
    """What has passed so far, in order."""

    url: str = ""
    passed: list[Passed] = field(default_factory=list)

    async def note(self, request: web.Request) -> None:
        self.passed.append(Passed(request.method, request.raw_path, request.headers))


@asynccontextmanager
async def recording(url: str) -> AsyncIterator[Recording]:
    """Serve in front of the Elasticsearch at `url`."""
    noted = Recording()
    async with relay(url, {("*", "/{any:.*}"): noted.note}) as address:
        noted.url = address
        yield noted
