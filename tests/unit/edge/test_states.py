"""The states of an exchange, told as dialogues: what happens, and the state that follows."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.edge import states
from rerank_proxy.edge.states import (
    ANSWER,
    AWAITING_CONTINUE,
    BODY,
    BYTES,
    CLOSE,
    CLOSED,
    COMPLETE,
    CONNECT,
    CONNECTING,
    CONTINUE,
    CUT,
    DECLINE,
    DECLINED,
    DISCARD,
    DISCARDING,
    END,
    EXPECT,
    HEAD,
    HEADS,
    IDLE,
    RELAYING,
    REPLACE,
    REPLACED,
    REQUEST,
    SEND,
    STREAMING,
    TRUNCATED,
    WAITING,
    Event,
    Progress,
    State,
    Table,
    UnexpectedEventError,
)

STATES = {value for value in vars(states).values() if isinstance(value, State)}
EVENTS = {value for value in vars(states).values() if isinstance(value, Event)}
TABLES = {"request": REQUEST, "answer": ANSWER}
PAIRS = [
    pytest.param(name, state, event, id=f"{name}-{state}-{event}")
    for name, table in TABLES.items()
    for state in sorted(table, key=repr)
    for event in sorted(EVENTS, key=repr)
]
REQUESTS = {
    "without a body": [(END, COMPLETE)],
    "with a body": [(BODY, STREAMING), (BODY, STREAMING), (END, COMPLETE)],
    "that awaits 100 Continue": [
        (EXPECT, AWAITING_CONTINUE),
        (CONTINUE, STREAMING),
        (BODY, STREAMING),
        (END, COMPLETE),
    ],
    "that does not wait for 100 Continue in the end": [
        (EXPECT, AWAITING_CONTINUE),
        (BODY, STREAMING),
        (CONTINUE, STREAMING),
        (END, COMPLETE),
        (CONTINUE, COMPLETE),
    ],
    "that is answered early": [(BODY, STREAMING), (DISCARD, DISCARDING), (BODY, DISCARDING), (END, COMPLETE)],
    "that is answered in place of 100 Continue": [
        (EXPECT, AWAITING_CONTINUE),
        (DISCARD, DISCARDING),
        (CLOSE, CLOSED),
    ],
    "whose client leaves": [(BODY, STREAMING), (CLOSE, CLOSED)],
}
ANSWERS = {
    "in one piece, on an idle connection": [(SEND, WAITING), (END, COMPLETE)],
    "in pieces, on a new connection": [
        (CONNECT, CONNECTING),
        (SEND, WAITING),
        (BYTES, HEADS),
        (BYTES, HEADS),
        (HEAD, RELAYING),
        (END, COMPLETE),
    ],
    "to a second try": [
        (SEND, WAITING),
        (CONNECT, CONNECTING),
        (SEND, WAITING),
        (HEAD, RELAYING),
        (END, COMPLETE),
    ],
    "of upstream, after the application declined": [
        (SEND, WAITING),
        (DECLINE, DECLINED),
        (CONNECT, CONNECTING),
        (SEND, WAITING),
        (END, COMPLETE),
    ],
    "of upstream, because the application is down": [
        (CONNECT, CONNECTING),
        (DECLINE, DECLINED),
        (SEND, WAITING),
        (END, COMPLETE),
    ],
    "of the edge, because no connection can be had": [(CONNECT, CONNECTING), (REPLACE, REPLACED)],
    "of the edge, because upstream's is malformed": [(SEND, WAITING), (BYTES, HEADS), (REPLACE, REPLACED)],
    "of the edge, to a malformed request": [(REPLACE, REPLACED)],
    "that breaks off": [(SEND, WAITING), (HEAD, RELAYING), (CUT, TRUNCATED)],
    "that is complete when the request turns out to be malformed": [
        (SEND, WAITING),
        (END, COMPLETE),
        (CUT, TRUNCATED),
    ],
    "to a client that leaves": [(SEND, WAITING), (HEAD, RELAYING), (CLOSE, CLOSED)],
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str) -> None:
    progress = Progress()
    for event, state in REQUESTS[name]:
        progress.on_request(event)
        assert progress.request is state
    assert progress.answer is IDLE


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(name: str) -> None:
    progress = Progress()
    for event, state in ANSWERS[name]:
        progress.on_answer(event)
        assert progress.answer is state
    assert progress.request is IDLE


@pytest.mark.parametrize(("name", "state", "event"), PAIRS)
def test_an_event_leads_to_a_state_or_is_refused(name: str, state: State, event: Event) -> None:
    progress = Progress()
    setattr(progress, name, state)
    advance = progress.on_request if name == "request" else progress.on_answer
    following = TABLES[name][state].get(event)
    if following is None:
        with pytest.raises(UnexpectedEventError, match=f"^{event} in {state}$"):
            advance(event)
        assert getattr(progress, name) is state
    else:
        advance(event)
        assert getattr(progress, name) is following


def reached(table: Table, state: State) -> set[State]:
    """The states to which events lead from `state`, itself aside unless one leads back."""
    found: set[State] = set()
    ahead = set(table[state].values())
    while ahead - found:
        found |= ahead
        ahead = {following for each in found for following in table[each].values()}
    return found


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
class TestTable:
    def test_every_state_can_be_reached_and_has_a_row(self, table: Table) -> None:
        assert reached(table, IDLE) | {IDLE} == {*table}

    def test_every_state_leads_to_an_end(self, table: Table) -> None:
        for state in table:
            assert any(not table[each] for each in {state} | reached(table, state))

    def test_a_client_may_leave_at_any_time(self, table: Table) -> None:
        """But for an instant: a declined request goes to upstream in the same turn of the loop."""
        unfinished = {state for state in table if table[state]} - {DECLINED}
        assert all(table[state][CLOSE] is CLOSED for state in unfinished)


def test_no_name_is_left_over() -> None:
    assert {*REQUEST} | {*ANSWER} == STATES
    assert {event for table in TABLES.values() for row in table.values() for event in row} == EVENTS


def test_what_the_client_has_got_a_part_of_is_neither_sent_again_nor_replaced() -> None:
    for state in ANSWER:
        if state.sent_on:
            assert not reached(ANSWER, state) & {CONNECTING, WAITING, HEADS, DECLINED, REPLACED}


def test_a_request_that_is_complete_is_never_read_again() -> None:
    assert not any(state.reading for state in reached(REQUEST, COMPLETE))
    assert {state for state in REQUEST if state.reading} == {AWAITING_CONTINUE, STREAMING, DISCARDING}


class TestTheMachinesMeet:
    def test_a_target_that_reads_on_gets_the_rest_after_its_answer_began(self) -> None:
        progress = Progress()
        progress.on_request(BODY)
        progress.final_head(target_reads_on=True)
        assert progress.request is STREAMING

    def test_a_target_that_reads_no_further_does_not(self) -> None:
        progress = Progress()
        progress.on_request(BODY)
        progress.final_head(target_reads_on=False)
        assert progress.request is DISCARDING

    @pytest.mark.parametrize("reads_on", [True, False])
    def test_a_client_that_awaits_100_continue_is_not_told_to_go_on(self, *, reads_on: bool) -> None:
        progress = Progress()
        progress.on_request(EXPECT)
        progress.final_head(target_reads_on=reads_on)
        assert progress.request is DISCARDING

    def test_a_complete_request_stays_so(self) -> None:
        progress = Progress()
        progress.on_request(END)
        progress.final_head(target_reads_on=False)
        progress.target_gone()
        assert progress.request is COMPLETE

    def test_what_a_target_that_is_gone_would_have_read_is_discarded(self) -> None:
        progress = Progress()
        progress.on_request(BODY)
        progress.target_gone()
        assert progress.request is DISCARDING

    def test_a_client_that_leaves_ends_both(self) -> None:
        progress = Progress()
        progress.on_request(BODY)
        progress.on_answer(CONNECT)
        progress.close()
        assert (progress.request, progress.answer) == (CLOSED, CLOSED)


def states_after(table: Table, events: list[Event]) -> Iterator[State]:
    state = IDLE
    for event in events:
        state = table[state].get(event, state)
        yield state


@given(st.lists(st.tuples(st.sampled_from(["request", "answer"]), st.sampled_from(sorted(EVENTS, key=repr)))))
def test_any_events_in_any_order(events: list[tuple[str, Event]]) -> None:
    """What is refused changes nothing, and what is final stays."""
    progress = Progress()
    was_sent_on = False
    for name, event in events:
        before = (progress.request, progress.answer)
        try:
            (progress.on_request if name == "request" else progress.on_answer)(event)
        except UnexpectedEventError:
            assert (progress.request, progress.answer) == before
        was_sent_on = was_sent_on or progress.answer.sent_on
        assert not (was_sent_on and progress.answer in (CONNECTING, WAITING, HEADS, DECLINED, REPLACED))
    for name, table in TABLES.items():
        expected = [IDLE, *states_after(table, [event for which, event in events if which == name])]
        assert getattr(progress, name) is expected[-1]
