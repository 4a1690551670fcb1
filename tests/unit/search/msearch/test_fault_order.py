"""Several faults in one `_msearch`: which one is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError, error, validation_error
from rerank_proxy.search.msearch.fault_order import first_fault, probe, resolve, split_messages
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.upstream.protocol import Reply

UNREADABLE = error(400, "parsing_exception", "unreadable")
A, B = validation_error(["a1", "a2"]), validation_error(["b"])
ITEMS = [Item(b"h%d" % number, b"b%d" % number) for number in range(4)]
STAND_IN = "cannot specify [retriever] and [query, search_after, terminate_after, sort, rescore]"


def told(type_: str, reason: str, status: int = 400) -> Reply:
    body = {"error": {"root_cause": [], "type": type_, "reason": reason}, "status": status}
    return Reply(status, (), json.dumps(body).encode())


class TestFirstFault:
    def test_messages_are_numbered_together(self) -> None:
        assert first_fault([A, B]).cause.reason == "Validation Failed: 1: a1;2: a2;3: b;"

    def test_what_cannot_be_read_comes_first(self) -> None:
        other = error(400, "illegal_argument_exception", "later")
        assert first_fault([A, UNREADABLE, other]) is UNREADABLE


@given(st.lists(st.text(st.sampled_from("ab;:1 2"), min_size=1).filter(lambda m: ";" not in m), min_size=1))
def test_messages_are_found_again(messages: list[str]) -> None:
    assert split_messages(validation_error(messages).cause.reason) == messages


def test_a_message_may_hold_semicolons() -> None:
    messages = ["[a;b] ;1: c", "d;3", "e;"]
    assert split_messages(validation_error(messages).cause.reason) == messages


class TestProbe:
    def lines(self, sent_on: str, faults: list[ElasticsearchError | None]) -> list[bytes] | None:
        body = probe(ITEMS, [flag == "x" for flag in sent_on], faults)
        return None if body is None else body.split(b"\n")[:-1:2]

    def test_where_nothing_is_sent_on_there_is_none(self) -> None:
        assert self.lines("....", [None, A, UNREADABLE, B]) is None

    def test_what_comes_after_what_cannot_be_read_does_not_matter(self) -> None:
        assert self.lines("..xx", [None, UNREADABLE, None, None]) is None
        assert self.lines("x..x", [None, None, UNREADABLE, None]) == [b"h0", b'{"rerank-proxy":0}']

    def test_faults_are_at_their_places(self) -> None:
        assert self.lines(".x.x", [A, None, B, None]) == [b"{}", b"h1", b"{}", b"h3"]
        assert self.lines("x...", [None, None, A, None]) == [b"h0", b"{}"]

    def test_after_the_last_item(self) -> None:
        assert self.lines("...x", [A, None, None, None, UNREADABLE]) == [b"{}", b"h3", b'{"rerank-proxy":0}']
        assert self.lines("....", [None, None, None, None, UNREADABLE]) is None


class TestResolution:
    @pytest.mark.parametrize(
        ("reply", "faults", "expected"),
        [
            (
                told(
                    "illegal_argument_exception",
                    "key [rerank-proxy] is not supported in the metadata section",
                ),
                [A, UNREADABLE],
                "unreadable",
            ),
            (
                told("action_request_validation_exception", f"Validation Failed: 1: x;2: {STAND_IN};3: y;"),
                [A],
                "Validation Failed: 1: x;2: a1;3: a2;4: y;",
            ),
            (
                told(
                    "action_request_validation_exception", f"Validation Failed: 1: {STAND_IN};2: {STAND_IN};"
                ),
                [A, B],
                "Validation Failed: 1: a1;2: a2;3: b;",
            ),
            (Reply(200, (), b"{}"), [B], "Validation Failed: 1: b;"),
        ],
    )
    def test_ours(self, reply: Reply, faults: list[ElasticsearchError], expected: str) -> None:
        found = resolve(reply, faults)
        assert isinstance(found, ElasticsearchError)
        assert found.cause.reason == expected

    @pytest.mark.parametrize(
        ("reply", "fault"),
        [
            (told("parsing_exception", "theirs"), UNREADABLE),
            (told("parsing_exception", "theirs"), A),
            (told("security_exception", "who are you", 401), A),
            (Reply(503, (), b"<html>"), UNREADABLE),
        ],
    )
    def test_theirs(self, reply: Reply, fault: Any) -> None:
        assert resolve(reply, [fault]) is reply
