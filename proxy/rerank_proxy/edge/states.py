"""The states of one exchange: how far its request is, and how far its answer is.

Theory of operation
===================

Two machines run side by side, because a request and its answer may overlap: upstream may answer before it has
the whole request, and a client may still send what nothing reads any more. Each machine is a table: a state,
the events that may happen in it, and the state that follows. An event that is not in the table raises
`UnexpectedEventError`. A state without events is final.

The request goes from the client to its target, which is upstream or the application::

    IDLE ──EXPECT──▶ AWAITING_CONTINUE ──CONTINUE──▶ STREAMING ──END──▶ COMPLETE
                              └───────────DISCARD────────┴──▶ DISCARDING ──END──▶ COMPLETE

A request without `Expect: 100-continue` goes from `IDLE` to `STREAMING`, or to `COMPLETE` if all of its body
came with its head. `CLOSE` leads from every state to `CLOSED`: the client's connection ends.

The answer goes from the target to the client::

    IDLE ──CONNECT──▶ CONNECTING ──SEND──▶ WAITING ──BYTES──▶ HEADS ──HEAD──▶ RELAYING ──END──▶ COMPLETE

Where the pool has an idle connection, `SEND` leads from `IDLE` to `WAITING`. An answer whose head comes in
one piece skips `HEADS`, one that comes in one piece as a whole skips `RELAYING`. Besides, there are

- the retry: `CONNECT` leads from `WAITING` back to `CONNECTING`;
- the application that declines a request: `DECLINE` leads from `CONNECTING`, `WAITING` and `HEADS` to
  `DECLINED`, where the same begins again with upstream; likewise back to the application, if upstream refuses
  what that wants to look at again;
- an error of the edge's: `REPLACE` leads from every state up to `HEADS` to `REPLACED`;
- an answer that breaks off: `CUT` leads from `RELAYING` and `COMPLETE` to `TRUNCATED`;
- a client that leaves: `CLOSE` leads to `CLOSED`.

Up to `HEADS` the client has got nothing of a final answer. So the request may be sent again, go to another
target, or be answered with an error. From `RELAYING` on none of this may happen: the table has no such event.

The machines meet in three places:

- A final head that comes before the request is complete discards the rest of it (`Progress.final_head`) if
  the target reads no further, or if the client still awaits a `100 Continue` that will not come.
- A target that is gone discards the rest of the request, too (`Progress.target_gone`).
- The exchange is over when the answer is complete, and the request is complete or discarded.

This module does no input or output. `edge.exchange` takes the request its way, `edge.response` the answer.
"""

from collections.abc import Mapping
from typing import Final


class _Named:
    """A constant with a name and a meaning, compared by identity.

    Members of an `Enum` would do, but that each costs more to look up than a table costs to ask.
    """

    def __init__(self, name: str, meaning: str) -> None:
        self.name: Final = name
        self.meaning: Final = meaning

    def __repr__(self) -> str:
        return self.name


class State(_Named):
    """A state of the request or of the answer.

    Args:
        reading: Of a request: a part of it is still to come from the client.
        sent_on: Of an answer: the client has got a part, so that it can only be completed or cut short.
    """

    def __init__(self, name: str, meaning: str, *, reading: bool = False, sent_on: bool = False) -> None:
        super().__init__(name, meaning)
        self.reading: Final = reading
        self.sent_on: Final = sent_on


class Event(_Named):
    """Something that happens to the request or to the answer."""


IDLE: Final = State("IDLE", "nothing was sent on")
COMPLETE: Final = State("COMPLETE", "all of it was sent on", sent_on=True)
CLOSED: Final = State("CLOSED", "the connection of the client ends with it")
# Of requests
AWAITING_CONTINUE: Final = State(
    "AWAITING_CONTINUE", "the client sends the body only after 100 Continue", reading=True
)
STREAMING: Final = State("STREAMING", "a part of the body is still to come", reading=True)
DISCARDING: Final = State("DISCARDING", "the rest of the body is read and dropped", reading=True)
# Of answers
CONNECTING: Final = State("CONNECTING", "a connection to the target is being made")
WAITING: Final = State("WAITING", "the request is on its way, and no byte of an answer has come")
HEADS: Final = State("HEADS", "the answer has begun, and its final head was not sent on")
RELAYING: Final = State(
    "RELAYING", "the final head was sent on, and a part of the body is still to come", sent_on=True
)
DECLINED: Final = State("DECLINED", "the application, or upstream, leaves the request to the other one")
REPLACED: Final = State("REPLACED", "the edge answered in the target's place")
TRUNCATED: Final = State("TRUNCATED", "the client got a part and was disconnected")

END: Final = Event("END", "the last byte came")
CLOSE: Final = Event("CLOSE", "the client left, or is disconnected")
# Of requests
EXPECT: Final = Event("EXPECT", "the head came, expecting 100 Continue and without any of the body")
CONTINUE: Final = Event("CONTINUE", "the target sent 100 Continue")
BODY: Final = Event("BODY", "a part of the body came")
DISCARD: Final = Event("DISCARD", "nothing will read the rest")
# Of answers
CONNECT: Final = Event("CONNECT", "a new connection is asked for")
SEND: Final = Event("SEND", "the request is sent on a connection")
BYTES: Final = Event("BYTES", "bytes came before the final head was complete")
HEAD: Final = Event("HEAD", "the final head is sent on")
DECLINE: Final = Event("DECLINE", "the request goes to the other target after all")
REPLACE: Final = Event("REPLACE", "the edge answers with an error")
CUT: Final = Event("CUT", "the answer cannot be completed, or its request is malformed")

Table = Mapping[State, Mapping[Event, State]]

REQUEST: Final[Table] = {
    IDLE: {EXPECT: AWAITING_CONTINUE, BODY: STREAMING, END: COMPLETE, CLOSE: CLOSED},
    AWAITING_CONTINUE: {
        CONTINUE: STREAMING,
        BODY: STREAMING,
        END: COMPLETE,
        DISCARD: DISCARDING,
        CLOSE: CLOSED,
    },
    STREAMING: {CONTINUE: STREAMING, BODY: STREAMING, END: COMPLETE, DISCARD: DISCARDING, CLOSE: CLOSED},
    DISCARDING: {BODY: DISCARDING, END: COMPLETE, DISCARD: DISCARDING, CLOSE: CLOSED},
    COMPLETE: {CONTINUE: COMPLETE, CLOSE: CLOSED},
    CLOSED: {},
}

ANSWER: Final[Table] = {
    IDLE: {CONNECT: CONNECTING, SEND: WAITING, REPLACE: REPLACED, CLOSE: CLOSED},
    CONNECTING: {SEND: WAITING, DECLINE: DECLINED, REPLACE: REPLACED, CLOSE: CLOSED},
    WAITING: {
        CONNECT: CONNECTING,
        BYTES: HEADS,
        HEAD: RELAYING,
        END: COMPLETE,
        DECLINE: DECLINED,
        REPLACE: REPLACED,
        CLOSE: CLOSED,
    },
    HEADS: {
        BYTES: HEADS,
        HEAD: RELAYING,
        END: COMPLETE,
        DECLINE: DECLINED,
        REPLACE: REPLACED,
        CLOSE: CLOSED,
    },
    RELAYING: {END: COMPLETE, CUT: TRUNCATED, CLOSE: CLOSED},
    COMPLETE: {CUT: TRUNCATED, CLOSE: CLOSED},
    DECLINED: {CONNECT: CONNECTING, SEND: WAITING},
    REPLACED: {},
    TRUNCATED: {},
    CLOSED: {},
}


class UnexpectedEventError(Exception):
    """An event that its state does not allow: a defect of the code that drives the machine."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event} in {state}")


class Progress:
    """The states of one exchange."""

    request = IDLE
    answer = IDLE

    def on_request(self, event: Event) -> None:
        """Advance the request.

        Raises:
            UnexpectedEventError: Its state does not allow the event.
        """
        try:
            self.request = REQUEST[self.request][event]
        except KeyError:
            raise UnexpectedEventError(self.request, event) from None

    def on_answer(self, event: Event) -> None:
        """Advance the answer.

        Raises:
            UnexpectedEventError: Its state does not allow the event.
        """
        try:
            self.answer = ANSWER[self.answer][event]
        except KeyError:
            raise UnexpectedEventError(self.answer, event) from None

    def close(self) -> None:
        """End both, because the client left."""
        self.on_request(CLOSE)
        self.on_answer(CLOSE)

    def final_head(self, *, target_reads_on: bool) -> None:
        """Discard the rest of a request that is answered early, if the target will not get it."""
        if self.request is AWAITING_CONTINUE or (not target_reads_on and self.request.reading):
            self.on_request(DISCARD)

    def target_gone(self) -> None:
        """Discard the rest of a request whose target reads no more."""
        if self.request.reading:
            self.on_request(DISCARD)
