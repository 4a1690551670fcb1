"""What the log says of endpoints that give no scores."""

import json
import logging

import pytest

from rerank_proxy.inference import endpoints
from rerank_proxy.inference.failures import InferenceFailedError, because, not_found, status_error
from rerank_proxy.inference.reporting import LastCall, Reporter
from rerank_proxy.observe.log_json import EcsFormatter
from tests.support.remote import remote_case
from tests.support.vendors import CASES


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_REPORTER", Reporter())


async def test_a_service_that_refuses_has_one_line_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with remote_case(CASES[0]) as (remote, vendor, endpoint):
        for _ in range(3):
            vendor.fails(401, message="the key hush and the query whisper")
            with pytest.raises(InferenceFailedError, match="whisper"):
                await endpoint.scores("whisper", ["a"], remote.deadline())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = EcsFormatter("app").format(record)
    fields = json.loads(line)
    assert fields["message"] == (
        "calls of inference endpoint [mine] fail: its service answers with status [401]: are its credentials "
        "still valid?"
    )
    assert fields["event"]["action"] == "scores-failed"
    assert fields["rerank_proxy"] == {"endpoint": "mine", "model": endpoint.model, "reason": "vendor_error"}
    assert "whisper" not in line
    assert "hush" not in line


def test_what_is_the_callers_own_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter()
    failures = [
        not_found("mine"),
        status_error(400, "too long"),
        because("queue_full", status_error(429, "full")),
        because("model_failed", status_error(500, "gone")),
    ]
    for failure in failures:
        with pytest.raises(InferenceFailedError), reporter.around("mine", "m"):
            raise failure
    said = [message.partition(" fail: ")[2] for message in caplog.messages]
    assert [words.partition(" ")[0] for words in said] == ["there", "its"]


def ended(last: LastCall, failure: InferenceFailedError | None = None) -> str | None:
    if failure is None:
        with last.around():
            pass
    else:
        with pytest.raises(InferenceFailedError), last.around():
            raise failure
    return last.trouble


def test_the_last_call_tells_of_trouble_until_one_works_or_fails_by_its_caller() -> None:
    last = LastCall()
    assert ended(last, not_found("mine")) is None
    full = because("queue_full", status_error(429, "hush"))
    assert (ended(last, full) or "").startswith("the last call failed: there is no room for their texts")
    assert ended(last, because("breaker_open", status_error(400, "hush"))) == (
        "not called at present, since its calls kept failing: there is no room for their texts; see "
        "[engine.queue_tokens] and [engine.queue_bytes]"
    )
    assert ended(last) is None


async def test_an_endpoint_knows_how_its_last_call_ended() -> None:
    async with remote_case(CASES[0]) as (remote, vendor, endpoint):
        vendor.fails(401, message="the key hush")
        with pytest.raises(InferenceFailedError):
            await endpoint.scores("whisper", ["a"], remote.deadline())
        assert endpoint.last_call.trouble == (
            "the last call failed: its service answers with status [401]: are its credentials still valid?"
        )
