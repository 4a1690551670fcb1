"""A search and its answer: the relay to two targets, upstream and the application, in turn."""

from rerank_proxy.edge import states
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.exchange import Exchange
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.response import ResponseRelay
from rerank_proxy.edge.shared import Shared
from rerank_proxy.http import handover
from rerank_proxy.http.head import RequestHead
from rerank_proxy.observe import request_id
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.observe.named import named

_TRY = handover.TRY.encode()
_REQUEST_ID = f"{handover.REQUEST_ID}: %b\r\n".encode()
_REFUSED = f"\r\n{handover.HEADER}: {handover.REFUSED}\r\n".encode()
_RECORD = handover.RECORD.encode()


class SearchExchange(Exchange):
    """Forwards one request that was inspected.

    One for the application goes there first and, when the application declines it, upstream; and back if the
    application wants to look at a refusal of upstream's.

    Args:
        kind: `rerank` for one that goes to the application first.
        optional: The application can be done without.
        origin: What upstream answers to the request's origin, if it was asked.
    """

    _watched = False  # the application wants to look again at what upstream answers with 403
    _refused = False  # upstream did so, and the application is asked again
    _was_refused = False  # it was, and is not asked a third time, whatever it or the client's headers say

    def __init__(
        self,
        client: Client,
        shared: Shared,
        request: RequestHead,
        kind: RequestKind,
        *,
        optional: bool,
        origin: OriginAnswer | None,
    ) -> None:
        super().__init__(client, shared, request, kind)
        self._optional = optional
        self._asked_origin = origin
        if kind == "rerank":
            self._pool = shared.app
            self._is_relayed = False

    def _head(self, host: bytes | None) -> bytes:
        # The body is here, so the client's wait for `100 Continue` is over.
        head = self.request.forward(host, expect=False)
        if self._kind != "rerank":
            return head
        if self.request_id is None:
            self.request_id = named(self.request.fields.raw).request_id or request_id.new()
        said = (_REFUSED if self._refused else b"\r\n") + _REQUEST_ID % self.request_id.encode()
        if (record := self.request.field(_RECORD)) is not None:
            said += b"%b: %b\r\n" % (_RECORD, record)
        return head.replace(b"\r\n", said, 1)

    def _new_response(self) -> ResponseRelay:
        origin = self._asked_origin if self._kind == "rerank" else None
        return ResponseRelay(
            self._client, self._shared, self.request, self._progress, self._kind, origin, self._watched
        )

    def _declined(self, response: ResponseRelay) -> None:
        self._turn(reusable=response.reusable, watched=response.declined == _TRY)

    def _goes_elsewhere(self) -> bool:
        """Ask upstream in place of an application that can be done without: it may know the answer."""
        elsewhere = self._optional and self._pool is self._shared.app and self._chunks is not None
        if elsewhere:
            self._progress.on_answer(states.DECLINE)
            self._turn(reusable=False)
        return elsewhere

    def _turn(self, *, reusable: bool, watched: bool = False) -> None:
        """Send the request, untouched, to the other target: this one declined or refused it."""
        self._part_with_connection(reusable=reusable)
        self._refused = self._kind != "rerank"
        self._was_refused |= self._refused
        self._kind = "rerank" if self._refused else "search"
        self._pool = self._shared.app if self._refused else self._shared.upstream
        self._watched = watched and not self._was_refused
        self._is_relayed = not (self._refused or self._watched)
        self._response = None
        self._forward(self._chunks or [])

    @property
    def _origin(self) -> OriginAnswer:
        return self._asked_origin if self._asked_origin is not None else super()._origin
