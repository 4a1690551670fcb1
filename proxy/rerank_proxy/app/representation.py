"""How a client wants its answer: format, filters, layout, coding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rerank_proxy.app.formats.bodies import from_json
from rerank_proxy.app.formats.filter_path import filtered
from rerank_proxy.app.formats.stack_traces import with_stack_traces
from rerank_proxy.concurrency.offload import answer_size, offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http import codings
from rerank_proxy.http.media_types import Format
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.http.negotiation import negotiate
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.splicing import Printer

OF_THE_ANSWER: Final = frozenset({"filter_path", "format"})
"""Parameters that shape the last answer only: inner ones are whole, and JSON."""


@dataclass(frozen=True, slots=True)
class Style:
    """What the URL and the headers of one request say of its answer."""

    format: Format
    content_type: str
    filter_path: str
    pretty: bool
    error_trace: bool
    coding: str | None

    @classmethod
    def of(cls, request: Request, params: Params) -> "Style | None":
        """None for headers that Elasticsearch refuses; it has the words for that."""
        accept, content_type = (request.headers.getall(name, []) for name in ("Accept", "Content-Type"))
        chosen = negotiate(params.get("format"), accept, content_type, has_body=bool(request.body))
        if chosen is None:
            return None
        return cls(
            chosen.format,
            chosen.content_type,
            params.get("filter_path", ""),
            params.get("pretty") in ("", "true"),
            params.get("error_trace") in ("", "true"),
            codings.choose(",".join(request.headers.getall("Accept-Encoding", []))),
        )

    async def response(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
        """An answer in JSON as the client wants it. Errors are not filtered, as in Elasticsearch."""
        printed = await offload(self._work(body), self._print, body, filters=status < 400)
        fields = [(name, value) for name, value in headers if name.lower() != "content-type"]
        fields.append(("content-type", self.content_type))
        if self.coding is not None:
            fields.append(("content-encoding", self.coding))
        return Response(status, fields, printed)

    def laid_out(self, body: bytes) -> bytes:
        """A refusal of upstream's, which may be that of a request without the client's pretty."""
        if not self.pretty or body.startswith(b"{\n"):
            return body
        return pretty_print(body) + b"\n"

    def error(self, failure: ElasticsearchError) -> bytes:
        """The body of an error of ours, in JSON."""
        body = with_stack_traces(failure.body()) if self.error_trace else failure.body()
        printer = Printer(self.pretty)
        return printer.value(body) + printer.end()

    def _work(self, body: bytes) -> int:
        """What printing `body` counts for in `offload`."""
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


JSON_STYLE: Final = Style(Format.JSON, "application/json", "", False, False, None)
"""For what cannot be printed as the client wants it."""
