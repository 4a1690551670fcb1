"""Google's tokens."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from tests.support.remote import Remote, remote_case
from tests.support.vendors import CASES
from tests.support.vendors.cases import private_key, service_account

CASE = next(case for case in CASES if case.service == "googlevertexai")
TOKEN_URI = "https://oauth2.googleapis.com/token"


def refusal(account: str, **settings: Any) -> str:
    service = Remote(**{"allowed_hosts": ["vendors"], **settings}).services["googlevertexai"]
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", {"service_account_json": account, "project_id": "p"}, {})
    assert (raised.value.status, raised.value.cause.type) == (400, "validation_exception")
    return str(raised.value)


async def test_a_token_is_asked_for_with_a_signed_assertion() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        await endpoint.scores("q", ["a 1"], remote.deadline())
        form = vendor.seen[0]["form"]
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert jwt.get_unverified_header(form["assertion"]) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
        public = load_pem_private_key(private_key().encode(), None).public_key()
        claims = jwt.decode(
            form["assertion"],
            public,  # type: ignore[arg-type]
            ["RS256"],
            audience=f"{vendor.url}/token",
            options={"verify_exp": False, "verify_iat": False},
        )
        now = int(remote.clock.wall())
        assert claims == {
            "iss": "me@my-project.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": f"{vendor.url}/token",
            "iat": now,
            "exp": now + 3600,
        }


async def test_a_token_is_used_until_it_is_old() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        for _ in range(3):
            await endpoint.scores("q", ["a 1"], remote.deadline())
        assert vendor.tokens == 1
        await remote.clock.sleep(3580)
        await endpoint.scores("q", ["a 1"], remote.deadline(4000))
        assert vendor.tokens == 2


async def test_calls_side_by_side_share_one_token() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        await endpoint.scores("q", ["a 1"] * 1000, remote.deadline())
        assert (vendor.tokens, len(vendor.seen)) == (1, 1 + 5)


async def test_a_refused_token_is_not_used_again() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        await endpoint.scores("q", ["a 1"], remote.deadline())
        vendor.fails(401)
        with pytest.raises(InferenceFailedError):
            await endpoint.scores("q", ["a 1"], remote.deadline())
        await endpoint.scores("q", ["a 1"], remote.deadline())
        assert vendor.tokens == 2


async def test_tokens_that_cannot_be_had() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        vendor.token_faults += [503, 400]
        with pytest.raises(InferenceFailedError, match=r"Error message: \[invalid_grant: no\]"):
            await endpoint.scores("q", ["a 1"], remote.deadline())
        assert remote.clock.slept == [1]  # after the 503


async def test_records_and_details() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        for returns, ignores in ((True, False), (False, True)):
            request = RerankRequest("q", ["a 1", "b 2"], 1, returns)
            await endpoint.rank(request, remote.deadline())
            assert vendor.seen[-1] == {
                "model": "semantic-ranker-default-004",
                "query": "q",
                "records": [{"id": "0", "content": "a 1"}, {"id": "1", "content": "b 2"}],
                "topN": 1,
                "ignoreRecordDetailsInResponse": ignores,
            }


def test_a_token_address_does_not_lead_to_other_hosts() -> None:
    assert "host [evil.com] is not in [remote.allowed_hosts]" in refusal(
        service_account("https://evil.com/t")
    )
    assert "[169.254.169.254] is not a public address" in refusal(
        service_account("http://169.254.169.254/computeMetadata"),
        allowed_hosts=["*"],
        allow_private_addresses=False,
    )


def test_googles_own_token_address() -> None:
    service = Remote(allowed_hosts=["vendors"]).services["googlevertexai"]
    for uri in (TOKEN_URI, ""):
        settings = {"service_account_json": service_account(uri), "project_id": "p"}
        config = service.parse("mine", settings, {})
        assert config.service_settings == {"project_id": "p", "rate_limit": {"requests_per_minute": 300}}


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ("{}", "it has no [client_email]; the JSON key of a service account is expected"),
        ('{"client_email": "a"}', "it has no [private_key]; the JSON key of a service account is expected"),
        ("[" * 10_000, "it is not JSON"),
        ("[" * 20_000, "it is longer than 16384 characters"),
        (
            json.dumps({"client_email": "a", "private_key": "s" * 5000}),
            "[private_key] is longer than one of 4096 bits",
        ),
        (
            '{"client_email": "a", "private_key": "s3cret"}',
            "[private_key] is not a private RSA key in PEM form",
        ),
        (
            '{"client_email": "a", "private_key": "s3cret", "token_uri": 5}',
            "[private_key_id] and [token_uri] must be texts",
        ),
    ],
)
def test_what_is_not_an_account(account: str, reason: str) -> None:
    assert refusal(account) == (
        f"Validation Failed: 1: [secret_settings] Invalid value of [service_account_json]: {reason};"
    )


async def test_the_private_key_is_never_shown() -> None:
    async with remote_case(CASE) as (remote, vendor, endpoint):
        account = json.loads(endpoint.config.secrets["service_account_json"])
        vendor.fails(400, message=f"key {endpoint.config.secrets['service_account_json']}")
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.scores("q", ["a 1"], remote.deadline())
        assert account["private_key"][40:80] not in str(raised.value)
