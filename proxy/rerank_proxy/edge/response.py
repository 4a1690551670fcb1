"""The answer's way from the target to the client: its heads, its body, its end."""

from rerank_proxy.edge import states
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.shared import Shared
from rerank_proxy.edge.states import Progress
from rerank_proxy.edge.told import Told, for_client, told
from rerank_proxy.http import handover
from rerank_proxy.http.answer_reader import AnswerError, AnswerHeads, malformed
from rerank_proxy.http.framing import Body, ChunkedBody, FramingError, response_body
from rerank_proxy.http.head import HeadError, RequestHead, ResponseHead
from rerank_proxy.observe.edge_metrics import RequestKind

_HANDOVER = handover.HEADER.encode()
_PASSED_ON = handover.PASSED_ON
_DECLINES = (handover.PASS.encode(), handover.TRY.encode())


class ResponseRelay:
    """Relays the answer to one request as it comes.

    It belongs to one connection: a request that is sent again, or to another target, gets a new one.

    Args:
        progress: The states of the exchange, of which this advances the answer's.
        kind: To which target the request was sent, and whether its body was buffered.
        origin: What upstream answers to the request's origin, if the answer has to carry it.
        watched: A 403 of upstream's is the application's to look at.

    Attributes:
        declined: What the application said when it handed the request back; None if it did not.
        status: That of the final head; 0 before it.
        reusable: The target's connection can be used again after the answer.
        closes_client: The client's connection ends with the answer.
    """

    # Defaults of the class, so that an answer sets only what becomes of it.
    _heads: AnswerHeads | None = None
    _body: Body | None = None
    _dechunk = False
    _was_continued = False
    declined: bytes | None = None
    status = 0
    _told_head: bytes | None = None
    reusable = False
    closes_client = False

    def __init__(
        self,
        client: Client,
        shared: Shared,
        request: RequestHead,
        progress: Progress,
        kind: RequestKind,
        origin: OriginAnswer | None,
        watched: bool = False,
    ) -> None:
        self._client = client
        self._shared = shared
        self._request = request
        self._progress = progress
        self._kind: RequestKind = kind
        self._origin = origin
        self._watched = watched

    @property
    def until_close(self) -> bool:
        """Return whether only the end of its connection tells the client that the answer is complete."""
        return self._dechunk or (self._body is not None and self._body.until_close)

    @property
    def told(self) -> Told | None:
        """Return what the application told of the answer; None if it is not the application's."""
        return None if self._told_head is None else told(self._told_head)

    def received(self, data: bytes) -> None:
        """Send on the next piece; the states tell how far the answer is then.

        Raises:
            AnswerError: It is malformed.
        """
        try:
            if self._body is not None:
                self._relay(self._body, data, 0, 0)
            else:
                self._read_heads(data)
        except (HeadError, FramingError) as problem:
            raise malformed(problem) from None

    def ended(self, *, in_order: bool) -> None:
        """Complete an answer that ends with its connection, which was closed.

        Args:
            in_order: It was closed by an end, not by a reset.

        Raises:
            AnswerError: The answer is not complete.
        """
        if not in_order or self._body is None or not self._body.until_close:
            raise AnswerError("broke off its answer", has_head=self._body is not None)
        self._progress.on_answer(states.END)

    # Heads

    def _read_heads(self, data: bytes) -> None:
        """Read heads that come in pieces, or of which there are several."""
        if self._heads is None:
            self._heads = AnswerHeads()
        heads = self._heads
        heads.append(data)
        while head := heads.take():
            if head.status >= 200:
                self._final_head_received(head, heads.block, heads.at)
                return
            self._interim_head_received(head)
        self._progress.on_answer(states.BYTES)

    def _interim_head_received(self, head: ResponseHead) -> None:
        if head.status == 100:
            self._was_continued = True
            self._progress.on_request(states.CONTINUE)
        # HTTP/1.0 has no interim answers, and a search already got its `100 Continue` from the edge.
        if not self._request.http10 and (head.status != 100 or self._kind == "plain"):
            self._client.write(head.forward(close=False))

    def _final_head_received(self, head: ResponseHead, data: bytes, end: int) -> None:
        """Relay the head, which ends at `end` in `data`, and the part of the body behind it."""
        if head.status == _PASSED_ON and self._kind == "rerank":
            self.declined = head.field(_HANDOVER)
        if self.declined in _DECLINES or (head.status == 403 and self._watched):
            self.reusable = head.keep_alive and head.length == 0 and end == len(data)
            self._progress.on_answer(states.DECLINE)
            return
        body = self._body = response_body(head, self._request.method)
        self._plan(head, body)
        # A client that asked to close the connection need not be told, and Elasticsearch does not.
        forwarded = head.forward(
            close=self.closes_client, announce=self._request.keep_alive, dechunk=self._dechunk
        )
        if self._kind == "rerank":
            self._told_head = head.raw
            forwarded = for_client(forwarded)
        if self._origin is not None and (fields := self._origin.fields_beside(head)):
            forwarded = forwarded[:-2] + fields + b"\r\n"
        self._begin(head, forwarded, body, data, end)

    def _begin(self, head: ResponseHead, forwarded: bytes, body: Body, data: bytes, end: int) -> None:
        """Send on the head, as `forwarded`, and what came of the body behind its `end`."""
        if forwarded is head.raw:
            self._relay(body, data, end, end - len(forwarded))
        else:
            self._relay(body, data, end, end, forwarded)

    def _plan(self, head: ResponseHead, body: Body) -> None:
        """Decide what becomes of both connections after the answer."""
        request, progress = self._request, self._progress
        self.status = head.status
        if request.http10:
            self._dechunk = isinstance(body, ChunkedBody)
        unread = request.sets_condition and self._leaves_body_unread()
        # No connection is used again where a part of the request is left on it.
        if progress.request is not states.COMPLETE:
            progress.final_head(target_reads_on=head.keep_alive and not unread)
        discarding = progress.request is states.DISCARDING
        self.reusable = head.allows_another and not (
            body.until_close or discarding or unread or request.http10
        )
        self.closes_client = (
            body.until_close
            or self._dechunk
            or discarding
            or head.http10
            or not request.keep_alive
            or self._shared.draining
        )

    def _leaves_body_unread(self) -> bool:
        """Return whether upstream may take the body for another request.

        Elasticsearch 8 refuses an expectation (417), and what is too long to be expected (413), without
        closing, and reads on as if no body belonged to the request. Whatever a client puts there would be
        answered on the connection, and the answer be taken for that to the next client's request. Upstream
        has told that it reads the body only by a `100 Continue`.
        """
        return self._kind == "plain" and not self._was_continued

    # The body

    def _relay(self, body: Body, data: bytes, start: int, kept: int, head: bytes = b"") -> None:
        """Send on `data` as far as it belongs to the answer.

        Args:
            start: Where the body begins in `data`.
            kept: Where that begins which is sent as it came: at `start`, or at the head before it.
            head: What is sent before.
        """
        content: list[bytes] | None = [] if self._dechunk else None
        end = body.feed(data, start, content)
        if content is not None:
            piece = b"".join((head, *content))
        elif head:
            piece = head + data[start:end]
        else:
            piece = data[kept:end]
        if piece:
            self._client.write(piece)
        self._follow(body, is_last=end == len(data))

    def _follow(self, body: Body, *, is_last: bool) -> None:
        """Advance the answer. `is_last`: nothing has come behind its body."""
        if not is_last:
            self.reusable = False  # more than upstream announced: its next answer would begin with it
        progress = self._progress
        if body.done:
            if progress.answer is not states.COMPLETE:
                progress.on_answer(states.END)
        elif progress.answer is not states.RELAYING:
            progress.on_answer(states.HEAD)
