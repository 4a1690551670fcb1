"""Who may do what: upstream decides, its answers are kept for a while, and doubt does not permit anything."""

import json
from typing import Any

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.upstream.privileges import (
    DELETE_ENDPOINT,
    PUT_ENDPOINT,
    RUN_INFERENCE,
    START_DEPLOYMENT,
    DeniedError,
    Privileges,
    denial,
)
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError

YES, NO = "all that is asked for", "nothing"
WHO = {"username": "u", "roles": ["b", "a"], "authentication_type": "realm"}
HAS = "POST /_security/user/_has_privileges"
IS = "GET /_security/_authenticate"


class Security:
    """An upstream with answers of the test's choice.

    Attributes:
        asked: What was asked, with the body.
    """

    caller = b"me"

    def __init__(self, *answers: Any, status: int = 200) -> None:
        self._answers = list(answers)
        self._status = status
        self.asked: list[tuple[str, Any]] = []

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        asked: Any = json.loads(body) if body else None
        self.asked.append((f"{method} {target}", asked))
        answer = self._answers.pop(0)
        if answer in (YES, NO):
            answer = {"cluster": dict.fromkeys(asked["cluster"], answer == YES)}
        return Reply(self._status, (), answer if isinstance(answer, bytes) else json.dumps(answer).encode())


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def refusal(privileges: Privileges, upstream: Security) -> DeniedError:
    with pytest.raises(DeniedError) as raised:
        await privileges.require(upstream, PUT_ENDPOINT)
    return raised.value


async def test_the_action_itself_is_asked_for() -> None:
    upstream = Security(YES)
    await Privileges().require(upstream, PUT_ENDPOINT)
    assert upstream.asked == [(HAS, {"cluster": ["cluster:admin/xpack/inference/put"]})]


async def test_privileges_that_grant_just_this_action_are_asked_for_too() -> None:
    upstream = Security(YES)
    await Privileges().require(upstream, START_DEPLOYMENT)
    assert upstream.asked == [(HAS, {"cluster": [START_DEPLOYMENT.name, "manage_inference"]})]


async def test_a_refusal_is_natives() -> None:
    upstream = Security(NO, WHO)
    failure = await refusal(Privileges(), upstream)
    assert [asked for asked, _ in upstream.asked] == [HAS, IS]
    reason = (
        "action [cluster:admin/xpack/inference/put] is unauthorized for user [u] with effective roles [a,b], "
        "this action is granted by the cluster privileges [manage_inference,manage,all]"
    )
    assert failure.body() == {
        "error": {
            "root_cause": [{"type": "security_exception", "reason": reason}],
            "type": "security_exception",
            "reason": reason,
        },
        "status": 403,
    }


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        ({"username": "u", "roles": []}, "user [u] with effective roles []"),
        (
            {
                "username": "u",
                "roles": [],
                "authentication_type": "api_key",
                "api_key": {"id": "i", "name": "n"},
            },
            "API key id [i] of user [u]",
        ),
        (
            {
                "username": "elastic/fleet-server",
                "roles": [],
                "authentication_type": "token",
                "authentication_realm": {"name": "_service_account", "type": "_service_account"},
            },
            "service account [elastic/fleet-server]",
        ),
    ],
)
def test_words_for_callers(caller: Any, words: str) -> None:
    assert denial(RUN_INFERENCE, caller).cause.reason == (
        f"action [cluster:monitor/xpack/inference/post] is unauthorized for {words}, this action is "
        "granted by the cluster privileges [monitor_inference,manage_inference,monitor,manage,all]"
    )


async def test_answers_are_remembered_for_a_while_by_caller_and_action() -> None:
    clock = Clock()
    privileges = Privileges(clock)
    upstream = Security(YES, NO, WHO, YES, NO, WHO)
    await privileges.require(upstream, PUT_ENDPOINT)
    await privileges.require(upstream, PUT_ENDPOINT)
    assert len(upstream.asked) == 1
    upstream.caller = b"you"
    first = await refusal(privileges, upstream)
    again = await refusal(privileges, upstream)
    assert len(upstream.asked) == 3
    assert first is not again
    assert first.body() == again.body()
    upstream.caller = b"me"
    await privileges.require(upstream, DELETE_ENDPOINT)
    assert len(upstream.asked) == 4
    clock.now_s = 31
    await refusal(privileges, upstream)
    assert len(upstream.asked) == 6


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, {"error": "no handler found for uri [/_security/user/_has_privileges] and method [POST]"}),
        (405, {"error": "Incorrect HTTP method for uri [/_security/user/_has_privileges] and method [POST]"}),
    ],
)
async def test_without_security_everybody_may_do_everything(status: int, answer: Any) -> None:
    privileges, upstream = Privileges(), Security(answer, status=status)
    await privileges.require(upstream, PUT_ENDPOINT)
    await privileges.require(upstream, PUT_ENDPOINT)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, {"error": {"type": "security_exception"}}),
        (403, {"error": {"type": "security_exception"}}),
        (400, {"error": {"type": "illegal_argument_exception"}}),
        (404, {"error": "no handler found for uri [/_security/user/_has_privileges]"}),
        (500, {}),
        (503, YES),
    ],
)
async def test_doubt_does_not_permit_and_is_not_remembered(status: int, answer: Any) -> None:
    privileges, upstream = Privileges(), Security(answer, answer, status=status)
    for _ in range(2):
        with pytest.raises(UpstreamRefusedError) as raised:
            await privileges.require(upstream, PUT_ENDPOINT)
        assert raised.value.reply.status == status
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        {},
        {"ok": True},
        {"cluster": None},
        {"cluster": {}},
        {"cluster": [PUT_ENDPOINT.name]},
        {"cluster": {"x": True}},
        {"cluster": {PUT_ENDPOINT.name: "yes"}},
        {"cluster": {PUT_ENDPOINT.name: 1}},
    ],
)
async def test_nonsense_is_upstreams_fault_and_no_permission(answer: Any) -> None:
    privileges, upstream = Privileges(), Security(answer, answer)
    for _ in range(2):
        with pytest.raises(ElasticsearchError, match=r"has_privileges\] with 200, but not as E") as raised:
            await privileges.require(upstream, PUT_ENDPOINT)
        assert raised.value.status == 502
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    "caller", [b"", b"[]", {"roles": 5}, {"roles": [1, "a"]}, {"authentication_realm": "x"}, b'{"api_key":']
)
async def test_nonsense_about_the_caller(caller: Any) -> None:
    with pytest.raises(ElasticsearchError, match=r"_authenticate\] with 200, but not as") as raised:
        await Privileges().require(Security(NO, caller), PUT_ENDPOINT)
    assert raised.value.status == 502
