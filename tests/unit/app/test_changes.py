"""A line about each change of an endpoint, a model or a deployment says whose it was, and holds no secret."""

import json

import pytest

from rerank_proxy.app.apis.changes import tell
from rerank_proxy.errors import ElasticsearchError, status_error
from rerank_proxy.observe.log_json import EcsFormatter
from rerank_proxy.upstream.privileges import DELETE_MODEL, PUT_ENDPOINT, Action
from rerank_proxy.upstream.protocol import Reply

pytestmark = pytest.mark.usefixtures("at_info")


@pytest.fixture
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


class Upstream:
    """What answers `_security/_authenticate` in one way."""

    caller = b""

    def __init__(self, answer: Reply | ElasticsearchError) -> None:
        self._answer = answer

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        assert (method, target, body) == ("GET", "/_security/_authenticate", b"")
        if isinstance(self._answer, ElasticsearchError):
            raise self._answer
        return self._answer


def known(**caller: object) -> Reply:
    return Reply(200, (), json.dumps(caller).encode())


NO_HANDLER = Reply(400, (), b'{"error":"no handler found for uri [/_security/_authenticate]"}')
UNNAMED = "a caller whom upstream did not name"


@pytest.mark.parametrize(
    ("action", "answer", "said"),
    [
        (PUT_ENDPOINT, known(username="ada"), "inference endpoint [x] was created by user [ada]"),
        (
            DELETE_MODEL,
            known(username="ada", authentication_type="api_key", api_key={"id": "VuaC", "name": "n"}),
            "model [x] was deleted by API key [VuaC] of user [ada]",
        ),
        (
            PUT_ENDPOINT,
            NO_HANDLER,
            "inference endpoint [x] was created by a caller without a name: upstream has no security",
        ),
        (PUT_ENDPOINT, status_error(503, "gone"), f"inference endpoint [x] was created by {UNNAMED}"),
        (PUT_ENDPOINT, Reply(401, (), b"{}"), f"inference endpoint [x] was created by {UNNAMED}"),
        (
            PUT_ENDPOINT,
            Reply(200, (), b'{"x":' + b"[" * 999),
            f"inference endpoint [x] was created by {UNNAMED}",
        ),
        (PUT_ENDPOINT, Reply(200, (), b'{"\xff":1}'), f"inference endpoint [x] was created by {UNNAMED}"),
        (PUT_ENDPOINT, Reply(200, (), b"[]"), f"inference endpoint [x] was created by {UNNAMED}"),
        (PUT_ENDPOINT, known(username=3), f"inference endpoint [x] was created by {UNNAMED}"),
    ],
)
async def test_it_says_who_it_was(
    action: Action, answer: Reply | ElasticsearchError, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    await tell(action, "x", Upstream(answer))
    assert caplog.messages == [said]


async def test_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    await tell(PUT_ENDPOINT, "x\n", Upstream(known(username="ada", api_key={"id": "VuaC"})))
    fields = json.loads(EcsFormatter("app").format(caplog.records[0]))
    assert fields["event"]["action"] == "endpoint-created"
    assert fields["event"]["category"] == ["configuration"]
    assert fields["user"] == {"name": "ada"}
    assert fields["rerank_proxy"] == {"endpoint": "x\\n", "api_key": "VuaC"}
