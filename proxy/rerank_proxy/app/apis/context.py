"""The request that an API is given and the answer that it returns, without HTTP in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rerank_proxy.app.formats.bodies import refuse_smile
from rerank_proxy.http.media_types import Format
from rerank_proxy.observe.outcome import HEADER, Outcome, Several
from rerank_proxy.online import search_ids
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.protocol import Reply, Upstream
from rerank_proxy.xcontent.params import Params


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request, taken off the wire.

    Attributes:
        path: As it came.
        path_params: What stands for the names in the path, as it came; those that are there.
        params: The query string, less what carried the body.
        headers: The client's, by name in any case.
        body: Decoded, in JSON; from the query string when it was there.
        content_type: The body's, as it was sent.
        body_format: The body's format before it was made JSON; None where the body is of no format of
            Elasticsearch's, and was left as it is.
        answer_format: The format that the client wants its answer in.
        upstream: Elasticsearch, spoken to with the headers of this request.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    params: Params
    headers: Mapping[str, str]
    body: bytes
    content_type: str | None
    body_format: Format | None
    answer_format: Format
    upstream: Callable[[], Upstream]

    @property
    def index(self) -> str | None:
        """Return the index expression of the path, as it came."""
        return self.path_params.get("index")

    @property
    def has_json_body(self) -> bool:
        """Return whether there is a body that can be read.

        Without one it is a search by URL alone; one that cannot be read Elasticsearch answers with a 406.
        """
        return bool(self.body) and self.body_format is not None

    def refuse_smile(self) -> None:
        """Refuse a request that would be answered here, in a format that cannot be written here.

        Raises:
            ElasticsearchError: 400, the answer is to be in Smile.
        """
        refuse_smile(self.answer_format)


@dataclass(frozen=True, slots=True)
class EndedSearch:
    """A search that has ended, as metrics count it and the slow log tells it.

    Attributes:
        outcome: None when it failed.
    """

    status: int
    outcome: Outcome | None = None
    timings: Timings | None = None


@dataclass(frozen=True, slots=True)
class MultiAnswer:
    """The answer to a request of many searches.

    Attributes:
        searches: Those that were made here, also those that failed.
        search_ids: By what clicks name them, by their numbers in the request.
    """

    body: bytes
    headers: Sequence[tuple[str, str]]
    outcome: Several
    searches: Sequence[EndedSearch]
    search_ids: Mapping[int, str] = field(default_factory=dict)

    def told(self) -> list[tuple[str, str]]:
        """Return the headers that say what happened."""
        told = [(HEADER, self.outcome.header())]
        return [*told, (search_ids.HEADER, search_ids.listed(self.search_ids))] if self.search_ids else told


ApiAnswer = SearchAnswer | MultiAnswer | Reply


def ended_searches(answer: ApiAnswer) -> Sequence[EndedSearch]:
    """Return the searches that an answer ends; any but that of one search or of many ends none."""
    if isinstance(answer, SearchAnswer):
        return (EndedSearch(200, answer.outcome, answer.timings),)
    return answer.searches if isinstance(answer, MultiAnswer) else ()


class Api(Protocol):
    """An API, at one or more paths."""

    async def answer(self, context: RequestContext) -> ApiAnswer | None:
        """Answer a request.

        Returns:
            The answer of a search or of many, which says in a header what happened; or any other answer,
            sent as it is; or None if the request is not to be answered here and goes upstream as it came.

        Raises:
            UpstreamRefusedError: The client gets upstream's answer as it is.
            ElasticsearchError: The client is told so.
        """
