"""The format of a response as its client wants it: media type, filters, layout, coding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from multidict import MultiMapping

from rerank_proxy.app.formats.bodies import from_json
from rerank_proxy.app.formats.filter_path import filtered
from rerank_proxy.app.formats.stack_traces import with_stack_traces
from rerank_proxy.concurrency.offload import answer_size, offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http import codings
from rerank_proxy.http.media_types import Format
from rerank_proxy.http.messages import Response
from rerank_proxy.http.negotiation import Negotiated
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.splicing import Printer

FORMAT_PARAMS: Final = frozenset({"filter_path", "format"})
"""Parameters that shape the last answer only: inner ones are whole, and JSON."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The format that the URL and the headers of one request ask for."""

    format: Format
    content_type: str
    filter_path: str = ""
    pretty: bool = False
    error_trace: bool = False
    coding: str | None = None

    @classmethod
    def of(cls, negotiated: Negotiated, headers: MultiMapping[str], params: Params) -> "ResponseFormat":
        """Return the format that a request asks for.

        Args:
            negotiated: The outcome of its media types.
            headers: All of the request's.
            params: Of its URL.
        """
        return cls(
            negotiated.format,
            negotiated.content_type,
            params.get("filter_path", ""),
            params.get("pretty") in ("", "true"),
            params.get("error_trace") in ("", "true"),
            codings.choose(",".join(headers.getall("Accept-Encoding", []))),
        )

    async def response(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
        """Return an answer as the client wants it. Errors are not filtered, as in Elasticsearch.

        Args:
            body: JSON.
        """
        printed = await offload(self._work(body), self._print, body, filters=status < 400)
        fields = [(name, value) for name, value in headers if name.lower() != "content-type"]
        fields.append(("content-type", self.content_type))
        if self.coding is not None:
            fields.append(("content-encoding", self.coding))
        return Response(status, fields, printed)

    def laid_out(self, body: bytes) -> bytes:
        """Return a refusal of upstream's in the client's layout, which the inner request may have lacked."""
        if not self.pretty or body.startswith(b"{\n"):
            return body
        return pretty_print(body) + b"\n"

    def error(self, failure: ElasticsearchError) -> bytes:
        """Return the body of an error of the proxy's, in JSON."""
        body = with_stack_traces(failure.body()) if self.error_trace else failure.body()
        printer = Printer(self.pretty)
        return printer.value(body) + printer.end()

    def _work(self, body: bytes) -> int:
        """Return what printing `body` counts for in `offload`."""
        if self.format is not Format.JSON:
            return len(body)
        if self.filter_path:  # each of its patterns may be held against each name
            return len(body) * (1 + len(self.filter_path) // 64)
        return 0 if self.coding is None else answer_size(body)

    def _print(self, body: bytes, *, filters: bool) -> bytes:
        if filters and self.filter_path:
            body = filtered(body, self.filter_path)
        printed = from_json(body, self.format)
        return printed if self.coding is None else codings.encode(printed, self.coding)


PLAIN_JSON: Final = ResponseFormat(Format.JSON, "application/json")
"""For what cannot be printed as the client wants it."""
