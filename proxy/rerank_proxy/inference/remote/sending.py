"""Sends a call and takes its answer. Failures are in Elasticsearch's words, with nothing secret in them."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

import msgspec

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.remote.addresses import HostNotAllowedError
from rerank_proxy.inference.remote.calls import HttpAnswer, HttpCall
from rerank_proxy.inference.remote.client import ConnectionFailedError, RemoteClient
from rerank_proxy.inference.remote.clock import seconds_of
from rerank_proxy.inference.remote.failures import not_allowed, refused, unreachable, unusable
from rerank_proxy.inference.remote.headers import HeaderNotAllowedError
from rerank_proxy.inference.remote.limits import TOKEN_LIMIT, AnswerLimit, UnusableAnswerError
from rerank_proxy.inference.remote.messages import Redaction, service_message
from rerank_proxy.inference.remote.retries import retry_after
from rerank_proxy.inference.remote.tokens import Token
from rerank_proxy.inference.remote.vendor import Vendor

_MAX_LIFETIME_S: Final = 86_400.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")


class _Issued(msgspec.Struct):
    """What is read of an answer with a token (RFC 6749, section 5.1)."""

    access_token: str
    expires_in: float | str | None = None


async def call_vendor(
    client: RemoteClient, vendor: Vendor, config: EndpointConfig, call: HttpCall, limit: AnswerLimit
) -> HttpAnswer:
    """Send a call and return its answer, which is a success.

    Raises:
        InferenceFailedError: The call may not be sent, no answer came, or the answer is not a success.
            Nothing secret is in it.
    """
    inference_id = config.inference_id
    try:
        client.hosts.check(call.url, vendor.name, vendor.vendor_hosts(), call.shown)
        answer = await client.send(vendor.name, call, limit)
    except (HostNotAllowedError, HeaderNotAllowedError) as refusal:
        raise not_allowed(inference_id, call.shown, str(refusal)) from None
    except ConnectionFailedError as failure:
        raise unreachable(inference_id, call.shown, str(failure), transient=failure.transient) from None
    except UnusableAnswerError as failure:
        raise unusable(inference_id, str(failure)) from None
    if 200 <= answer.status < 300:
        return answer
    if answer.status == 401 and (key := vendor.token_key(config)) is not None:
        client.tokens.forget(key)
    message = service_message(answer.body) or ""
    advice = vendor.advice(answer.status, message)
    shown = ". ".join(filter(None, (_redaction(config, call)(message), advice)))
    wait_s = retry_after(answer.headers, client.clock.wall())
    raise refused(inference_id, answer.status, call.shown, shown, wait_s)


def _redaction(config: EndpointConfig, call: HttpCall) -> Redaction:
    token = call.headers.get("Authorization", "").removeprefix("Bearer ")
    return Redaction(config, (*call.secrets, token))


async def fetch_token(
    client: RemoteClient, vendor: Vendor, config: EndpointConfig, request: Callable[[], HttpCall]
) -> str:
    """Return an access token, as `RemoteService.fetch_token` does."""
    key = vendor.token_key(config)
    assert key is not None, f"[{vendor.name}] has no [token_key]"

    async def fetch() -> Token:
        call = await asyncio.to_thread(request)  # which may sign: some 50 ms for a usual key
        answer = await call_vendor(client, vendor, config, call, TOKEN_LIMIT)
        try:
            return _token(msgspec.json.decode(answer.body, type=_Issued))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            reason = "it holds no access token"
            raise unusable(config.inference_id, reason, answer.status) from None

    return await client.tokens.get(key, fetch)


def _token(issued: _Issued) -> Token:
    """Read a token.

    Raises:
        ValueError: A header could not carry it.
    """
    if not _TOKEN.fullmatch(issued.access_token):
        raise ValueError
    lifetime_s = issued.expires_in
    if isinstance(lifetime_s, str):
        lifetime_s = seconds_of(lifetime_s)
    return Token(issued.access_token, min(lifetime_s or 0.0, _MAX_LIFETIME_S))
