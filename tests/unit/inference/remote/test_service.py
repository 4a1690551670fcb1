"""What it takes to add a service."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.service_settings import Setting
from rerank_proxy.services import API_KEY, MODEL_ID, TOP_N, RankedDoc, RemoteService, RerankRequest, Shape
from tests.support.remote import Remote
from tests.support.vendors import Asked, Wire, serving


class AcmeService(RemoteService):
    """All that a vendor's module needs."""

    name = "acme"
    label = "Acme"
    base_url = "https://api.acme.com"
    path = "/rank"
    requests_per_minute = 100
    default_max_documents = 2
    shape = Shape(rows="output.ranks", index="i", score=("s",), text="t")
    service_settings: ClassVar[Sequence[Setting]] = (API_KEY, MODEL_ID)
    task_settings: ClassVar[Sequence[Setting]] = (TOP_N,)

    def body(self, config: EndpointConfig, call: RerankRequest) -> Any:
        return {"m": config.service_settings["model_id"], "q": call.query, "d": call.texts, "n": call.top_n}


def _answer(asked: Asked, pairs: Sequence[tuple[Any, Any]]) -> Mapping[str, Any]:
    return {"output": {"ranks": [{"i": index, "s": value} for index, value in pairs]}}


WIRE = Wire(
    path="/rank",
    headers={"Authorization": "Bearer key-123"},
    required={"m": str, "q": str, "d": list},
    optional={"n": int},
    asked=lambda body: Asked(body["q"], body["d"], body.get("n")),
    answer=_answer,
    refusal=lambda status, text: {"error": text},
)


async def test_a_service_in_few_lines_has_it_all() -> None:
    async with serving(WIRE) as vendor:
        remote = Remote(base_urls={"acme": vendor.url})
        acme = AcmeService(remote.context)
        config = acme.parse("mine", {"api_key": "key-123", "model_id": "m"}, {"top_n": 3})
        endpoint = Endpoint(config, acme.open(config), acme.top_n(config))
        request = RerankRequest("q", ["a 1", "b 3", "c 2", "d 5", "e 4"], return_documents=True)
        vendor.fails(503)
        docs = await endpoint.rank(acme.complete(config, request), remote.deadline())
        await remote.client.close()
        assert [doc.text for doc in docs] == ["d 5", "e 4", "b 3"]
        assert len(vendor.seen) == 4
        assert remote.clock.slept == [1]
        assert endpoint.model == "m"
        assert remote.metric("calls_total", service="acme", outcome="5xx") == 1
        assert json.dumps(config.document()).count("key-123") == 0


async def test_a_long_answer_is_read_in_a_thread() -> None:
    threads: list[str] = []

    class Watched(AcmeService):
        def read(self, config: EndpointConfig, answer: bytes | bytearray) -> list[RankedDoc]:
            threads.append(threading.current_thread().name)
            return super().read(config, answer)

    async with serving(WIRE) as vendor:
        remote = Remote(base_urls={"acme": vendor.url})
        watched = Watched(remote.context)
        config = watched.parse("mine", {"api_key": "key-123", "model_id": "m"}, {})
        opened = watched.open(config)
        for padding in (0, 20_000):
            vendor.says(b'{"output": {"ranks": [{"i": 0, "s": 1}]}}' + b" " * padding)
            await opened.rank(RerankRequest("q", ["a"]), remote.deadline())
        await remote.client.close()
    assert [name == threading.main_thread().name for name in threads] == [True, False]


def test_its_hosts_are_those_of_its_url() -> None:
    acme = AcmeService(Remote(allowed_hosts=["vendors"]).context)
    settings = {"api_key": "key-123", "model_id": "m"}
    assert acme.url(acme.parse("mine", settings, {})) == "https://api.acme.com/rank"
    acme = AcmeService(Remote(allowed_hosts=[]).context)
    with pytest.raises(InferenceFailedError, match=r"host \[api\.acme\.com\] is not in"):
        acme.parse("mine", settings, {})
