"""Answers that name the nodes' HTTP addresses: clients that look for nodes there stay with the proxy.

Sniffing clients ask for `_nodes/http` and connect to what it says. The addresses become the one by which the
client reached the proxy, or `edge.public_address`; every other byte of the content stays as it came. A
compressed answer is decoded on the way and compressed again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from rerank_proxy.edge import states
from rerank_proxy.edge.addresses.cbor import CborRewriter
from rerank_proxy.edge.addresses.json import JsonRewriter
from rerank_proxy.edge.addresses.yaml import YamlRewriter
from rerank_proxy.edge.cors import OriginAnswer
from rerank_proxy.edge.ports import Client
from rerank_proxy.edge.response import ResponseRelay
from rerank_proxy.edge.shared import Shared
from rerank_proxy.edge.states import Progress
from rerank_proxy.http.answer_reader import AnswerError
from rerank_proxy.http.framing import Body
from rerank_proxy.http.head import RequestHead, ResponseHead
from rerank_proxy.http.inflate import CodingError
from rerank_proxy.http.media_types import Format, format_of
from rerank_proxy.http.recoding import WINDOW_BITS, Recoded, Transformation
from rerank_proxy.observe.edge_metrics import RequestKind
from rerank_proxy.settings import Address

MAX_HELD: Final = 1024 * 1024
"""The most bytes of an answer that are held to learn its new length; a longer one is sent in chunks."""

_HOST: Final = re.compile(
    rb"([A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,40}\])(?::([0-9]{1,5}))?"
)
_LENGTH: Final = re.compile(rb"\r\n(content-length:[\t ]*)[^\r]*", re.IGNORECASE)
_REWRITERS: Final[Mapping[Format | None, Callable[[bytes], Transformation]]] = {
    Format.JSON: JsonRewriter,
    Format.YAML: YamlRewriter,
    Format.CBOR: CborRewriter,
}
"""Smile refers back to names, and no client sniffs in it."""


def public_address(request: RequestHead, own: Address, *, secure: bool) -> bytes:
    """Return the address by which the client reached the proxy, as `HOST:PORT`.

    It is what `Host` says, where a port that is not given is the scheme's (RFC 9110 §7.2). Nothing but the
    name of a host, or an address, is taken from there: it becomes a part of the answer.

    Args:
        own: This end of the client's connection, for a request without a usable `Host`.
        secure: The client speaks TLS, to the proxy or to what stands before it.
    """
    match = _HOST.fullmatch(request.field(b"host") or b"")
    if match is not None:
        host, port = match.groups()
        number = int(port) if port else 443 if secure else 80
        if 0 < number < 65536:
            return b"%b:%d" % (host, number)
    return str(own).encode()


def _transformation(head: ResponseHead, address: bytes) -> Transformation | None:
    """Return what changes an answer; None for one that holds no addresses, or that cannot be read here."""
    content_type = (head.field(b"content-type") or b"").decode("latin-1")
    content_format = format_of(content_type) if head.status == 200 else None
    if content_format not in _REWRITERS:
        return None
    rewriter = _REWRITERS[content_format](address)
    coding = (head.field(b"content-encoding") or b"").decode("latin-1").lower()
    if not coding:
        return rewriter
    return Recoded(rewriter, coding) if coding in WINDOW_BITS else None


class NodesRelay(ResponseRelay):
    """Relays the answer to a request for nodes, with other addresses.

    An answer of a known length is held until its new length is known. One in chunks gets other chunks, for
    which nothing is held.

    Args:
        address: What each address becomes.
    """

    def __init__(
        self,
        client: Client,
        shared: Shared,
        request: RequestHead,
        progress: Progress,
        kind: RequestKind,
        origin: OriginAnswer | None,
        *,
        address: bytes,
    ) -> None:
        super().__init__(client, shared, request, progress, kind, origin)
        self._address = address
        self._change: Transformation | None = None
        self._head = b""  # not sent yet
        self._held: bytearray | None = None  # what is sent behind it, when the length is known
        self._in_chunks = False

    def ended(self, *, in_order: bool) -> None:
        if self._change is not None and in_order and self._body is not None and self._body.until_close:
            self._send(self._changed(self._change, [], done=True), done=True)
        super().ended(in_order=in_order)

    def _begin(self, head: ResponseHead, forwarded: bytes, body: Body, data: bytes, end: int) -> None:
        self._change = None if body.done else _transformation(head, self._address)
        if self._change is None:
            super()._begin(head, forwarded, body, data, end)
            return
        self._head = forwarded
        self._held = None if head.length is None else bytearray()
        self._in_chunks = head.chunked and not self._dechunk
        self._relay(body, data, end, end)

    def _relay(self, body: Body, data: bytes, start: int, kept: int, head: bytes = b"") -> None:
        if self._change is None or body.done:
            super()._relay(body, data, start, kept, head)
            return
        content: list[bytes] = []
        end = body.feed(data, start, content)
        self._send(self._changed(self._change, content, done=body.done), done=body.done)
        if self._held is None or body.done:
            self._follow(body, is_last=end == len(data))
        else:
            self._progress.on_answer(states.BYTES)

    def _changed(self, change: Transformation, content: list[bytes], *, done: bool) -> bytes:
        try:
            changed = change.feed(b"".join(content))
            return changed + change.end() if done else changed
        except CodingError as fault:
            raise AnswerError(f"sent a corrupt answer: {fault}", has_head=True) from None

    def _send(self, content: bytes, *, done: bool) -> None:
        if self._held is not None:
            self._held += content
            if done:
                self._head = _LENGTH.sub(b"\r\n\\g<1>%d" % len(self._held), self._head, count=1)
            elif len(self._held) > MAX_HELD:
                self._send_without_length()
            else:
                return
            content = bytes(self._held)
            if not done:
                self._held = None
        if self._in_chunks:
            content = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
            if done:
                content += b"0\r\n\r\n"
        if piece := self._head + content:
            self._client.write(piece)
        self._head = b""

    def _send_without_length(self) -> None:
        """Go over to chunks, which HTTP/1.0 does not have: there the end of the connection is that of the
        answer, which is closed in any case.
        """
        self._in_chunks = not self._request.http10
        self._dechunk = self._request.http10
        framing = b"\r\ntransfer-encoding: chunked" if self._in_chunks else b""
        self._head = _LENGTH.sub(framing, self._head, count=1)
