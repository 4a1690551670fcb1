"""What people are told when a call fails."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.inference.configuration import EndpointConfig
from proxy.inference.remote.failures import Redaction, refused, service_message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "invalid api token", "id": "1"}, "invalid api token"),
        ({"Message": "no such endpoint"}, "no such endpoint"),
        ({"detail": "Not enough balance"}, "Not enough balance"),
        ({"detail": [{"loc": ["body"], "msg": "too long", "input": "a secret text"}]}, "too long"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),
        ({"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"},
         "batch size 64 > maximum allowed batch size 32"),
        ({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}, "quota"),
        ({"errors": [{"code": "x", "message": "bad model"}], "trace": "1"}, "bad model"),
        ({"error": "invalid_grant", "error_description": "Invalid JWT"}, "invalid_grant: Invalid JWT"),
        ({"object": "error", "message": "flat", "type": "x"}, "flat"),
        ("just  text\n", "just text"),
        ({}, None),
        ([], None),
        ({"message": ""}, None),
        ({"message": 5}, None),
    ],
)  # fmt: skip
def test_a_services_own_words(body: Any, words: str | None) -> None:
    assert service_message(json.dumps(body).encode()) == words


@given(st.binary())
def test_any_bytes_are_words_or_nothing(body: bytes) -> None:
    words = service_message(body)
    assert words is None or words


@pytest.mark.parametrize("status", range(300, 600))
def test_the_status_is_never_that_of_a_broken_proxy(status: int) -> None:
    failure = refused("mine", status, "http://x", None)
    assert 400 <= failure.status < 500
    assert f"status [{status}]" in str(failure)
    assert failure.transient == (status == 429 or status >= 500)
    assert failure.outage == (status >= 500)


def config(**secrets: Any) -> EndpointConfig:
    return EndpointConfig("mine", "vendor", {}, {}, secrets)


@given(st.text(min_size=1), st.text(), st.text())
def test_no_secret_is_left(secret: str, before: str, after: str) -> None:
    hidden = Redaction(config(map={"key": secret}, other=5), ["token"])
    for shown in (secret, quote(secret, safe=""), "token"):
        remains = hidden(before + shown + after)
        assert shown not in remains or shown in "***" or len(shown) < 4


def test_the_longest_secret_goes_first() -> None:
    assert Redaction(config(a="abc", b="abcdef"))("x abcdef y") == "x *** y"


def test_a_long_message_is_cut() -> None:
    assert len(Redaction(config())("x" * 100_000)) == 1001
