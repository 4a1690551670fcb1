"""One call and its answer, with every failure in Elasticsearch's words and nothing secret in them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from proxy.inference.configuration import EndpointConfig
from proxy.inference.remote.addresses import HostNotAllowedError
from proxy.inference.remote.calls import HttpAnswer, HttpCall
from proxy.inference.remote.client import AnswerTooLargeError, ConnectionFailedError, RemoteClient
from proxy.inference.remote.failures import (
    Redaction,
    not_allowed,
    refused,
    service_message,
    unreachable,
    unusable,
)
from proxy.inference.remote.retries import retry_after
from proxy.inference.remote.tokens import Token

if TYPE_CHECKING:
    from proxy.inference.remote.service import RemoteService


async def exchange(
    client: RemoteClient, service: "RemoteService", config: EndpointConfig, call: HttpCall
) -> HttpAnswer:
    """Send a call and take its answer if it is a success.

    Raises:
        InferenceFailedError: It may not be sent, no answer came, or one that is no success. Nothing secret
            is in it.
    """
    inference_id = config.inference_id
    try:
        client.hosts.check(call.url, service.name, service.vendor_hosts())
        answer = await client.send(service.name, call)
    except HostNotAllowedError as refusal:
        raise not_allowed(inference_id, _redaction(config, call)(call.url), str(refusal)) from None
    except ConnectionFailedError as failure:
        failed = unreachable if failure.transient else not_allowed
        raise failed(inference_id, _redaction(config, call)(call.url), str(failure)) from None
    except AnswerTooLargeError as failure:
        raise unusable(inference_id, str(failure)) from None
    if 200 <= answer.status < 300:
        return answer
    if answer.status == 401:
        service.forget_tokens(config)
    hidden = _redaction(config, call)
    message = service_message(answer.body) or ""
    advice = service.advice(answer.status, message)
    shown = ". ".join(filter(None, (hidden(message), advice)))
    wait_s = retry_after(answer.headers, client.clock.wall())
    raise refused(inference_id, answer.status, hidden(call.url), shown, wait_s)


def _redaction(config: EndpointConfig, call: HttpCall) -> Redaction:
    token = call.headers.get("Authorization", "").removeprefix("Bearer ")
    return Redaction(config, (*call.secrets, token))


async def fetch_token(
    service: "RemoteService", config: EndpointConfig, key: str, request: Callable[[], HttpCall]
) -> str:
    """An OAuth access token, kept for as long as it is good.

    Args:
        key: As of `TokenCache.get`.
        request: What asks for one.

    Raises:
        InferenceFailedError: None could be had.
    """
    client = service.context.remote

    async def fetch() -> Token:
        answer = await exchange(client, service, config, request())
        try:
            token = msgspec.json.decode(answer.body)
            return Token(str(token["access_token"]), float(token.get("expires_in", 0)))
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError):
            reason = "it holds no access token"
            raise unusable(config.inference_id, reason, answer.status) from None

    return await client.tokens.get(key, fetch)
