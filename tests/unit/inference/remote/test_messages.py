"""What people are shown of a service's messages."""

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote.messages import Redaction, service_message


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


def test_words_are_on_one_line_and_nested_without_end_they_are_none() -> None:
    assert service_message(b'"a\\u001b[31m\\r\\nb\\u2028c\\u202ed"') == "a [31m b c d"
    assert service_message(b'{"error":' * 500 + b'"x"' + b"}" * 500) is None
    assert service_message(b"[" * 200_000) is None


def config(**secrets: Any) -> EndpointConfig:
    return EndpointConfig("mine", "vendor", {}, {}, secrets)


@given(st.text(min_size=16), st.text(), st.text())
def test_no_secret_is_left(secret: str, before: str, after: str) -> None:
    hidden = Redaction(config(map={"key": secret}, other=5), ["token-0123456789"])
    for shown in (secret, quote(secret, safe=""), quote_plus(secret, safe=""), "token-0123456789"):
        remains = hidden(before + shown + after)
        assert shown not in remains or set(shown) == {"*"}


@pytest.mark.parametrize(
    "secret", ["a", "***", "token", "documents", "less than", "unused", "1", "12345", "s3cr3t"]
)
def test_a_stand_in_spoils_no_message(secret: str) -> None:
    message = "less than 512 tokens of 12345 documents are unused, token s3cr3t1 said a"
    assert Redaction(config(api_key=secret))(message) == message


@pytest.mark.parametrize("before", ["", "key ", "'", "Bearer ", "?k=", "["])
@pytest.mark.parametrize("after", ["", " is bad", "'", "&", "]."])
def test_a_short_secret_is_hidden_where_it_stands_by_itself(before: str, after: str) -> None:
    assert Redaction(config(api_key="hunter22"))(f"{before}hunter22{after}") == f"{before}***{after}"
    assert Redaction(config(api_key="hunter22"))("hunter221 xhunter22") == "hunter221 xhunter22"


def test_the_longest_secret_goes_first() -> None:
    assert Redaction(config(a="abc-1234", b="abc-1234-def"))("x abc-1234-def y") == "x *** y"


def test_a_long_message_is_cut() -> None:
    assert len(Redaction(config())("x" * 100_000)) == 1001
