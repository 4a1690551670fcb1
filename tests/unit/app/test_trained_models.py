"""`_ml/trained_models` as an API: whose models a request is about, what is merged, who may do it."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.routes import Route, trained_model_routes
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.metrics import InferenceMetrics
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http.media_types import Format, format_of
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream import privileges
from rerank_proxy.upstream.privileges import Action, Privileges
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.upstream.protocol import Upstream as UpstreamOf
from rerank_proxy.upstream.trained_models import UpstreamModels
from rerank_proxy.xcontent.params import parse_params
from tests.support.trained_models import (
    CONFIG,
    TOKENS,
    NotingEngine,
    config_of,
    models_in,
    part_body,
    upload,
)

PATH = "/_ml/trained_models"
TAGGED = config_of("tagged", tags=["one", "two"])
THEIRS = {"model_id": "lang_ident_model_1", "created_by": "_xpack", "create_time": 1575548914594}


class Upstream:
    """Elasticsearch with one trained model, or without such an API."""

    caller = b"the test"

    def __init__(self) -> None:
        self.has_models = True
        self.asked: list[str] = []

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        self.asked.append(f"{method} {target}")
        if not self.has_models:
            return reply(400, {"error": f"no handler found for uri [{target}] and method [{method}]"})
        path = target.partition("?")[0]
        name = "trained_model_stats" if path.endswith("/_stats") else "trained_model_configs"
        ids = path.removeprefix(PATH).removesuffix("/_stats").strip("/")
        if ids in ("", "*", THEIRS["model_id"]):
            return reply(200, {"count": 1, name: [THEIRS]})
        if "*" in ids:
            return reply(200, {"count": 0, name: []})
        return reply(404, {"error": {"type": "resource_not_found_exception"}, "status": 404})


class Doorkeeper(Privileges):
    """Notes what is asked for, and refuses some of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Action] = []
        self.refused: set[Action] = set()

    async def require(self, upstream: UpstreamOf, action: Action) -> None:
        self.asked.append(action)
        if action in self.refused:
            raise error(403, "security_exception", action.name)


def reply(status: int, body: Any) -> Reply:
    return Reply(status, [], json.dumps(body, separators=(",", ":")).encode())


class Served:
    """The API over models of a directory."""

    def __init__(self, models: TrainedModels) -> None:
        self.models = models
        self.upstream = Upstream()
        self.gate = Doorkeeper()
        self.in_use: set[str] = set()
        api = TrainedModelsApi(models, UpstreamModels(BackgroundTasks()), self.in_use.__contains__)
        self.routes: list[Route] = [
            *trained_model_routes(api, self.gate, InferenceMetrics(CollectorRegistry()))
        ]

    async def raw(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply | None:
        path, _, query = target.partition("?")
        matches = [(route, match) for route in self.routes if (match := route.path.fullmatch(path))]
        if not matches:
            return None
        route, match = matches[0]
        content_type = (headers or {}).get("Content-Type", "application/json")
        answer = await route.api.answer(
            RequestContext(
                method=method,
                path=path,
                path_params=match.groupdict(),
                params=parse_params(query),
                headers=headers or {},
                body=b"" if body is None else json.dumps(body).encode(),
                content_type=content_type,
                body_format=format_of(content_type),
                answer_format=Format.JSON,
                upstream=lambda: self.upstream,
            )
        )
        assert answer is None or isinstance(answer, Reply)
        return answer

    async def call(self, method: str, target: str, body: Any = None) -> Any:
        answer = await self.raw(method, target, body)
        assert answer is not None
        assert answer.status == 200
        return json.loads(answer.body)

    async def refusal(self, method: str, target: str, body: Any = None) -> tuple[int, str]:
        with pytest.raises(ElasticsearchError) as refused:
            await self.raw(method, target, body)
        return refused.value.status, str(refused.value)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    models = models_in(tmp_path, NotingEngine())
    await models.start()
    yield Served(models)
    await models.close()


async def ids(served: Served, target: str) -> tuple[int, list[str]]:
    answer = await served.call("GET", target)
    return answer["count"], [each["model_id"] for each in answer["trained_model_configs"]]


async def test_the_way_of_eland(served: Served) -> None:
    served.upstream.has_models = False
    assert await served.refusal("GET", f"{PATH}/mine") == (
        404,
        "No known trained model with model_id [mine]",
    )
    created = await served.call("PUT", f"{PATH}/mine", CONFIG)
    assert created["model_id"] == "mine"
    assert created["model_size_bytes"] == 0
    acknowledged = {"acknowledged": True}
    for number, content in enumerate((b"abc", b"de")):
        body = part_body(content, 5, 2)
        assert await served.call("PUT", f"{PATH}/mine/definition/{number}", body) == acknowledged
    assert await served.call("PUT", f"{PATH}/mine/vocabulary", {"vocabulary": TOKENS}) == acknowledged
    started = await served.call("POST", f"{PATH}/mine/deployment/_start?timeout=60s&wait_for=started")
    assert started["assignment"]["assignment_state"] == "started"
    answer = await served.call(
        "POST",
        f"{PATH}/mine/_infer?timeout=60s",
        {
            "docs": [{"text_field": "abc"}, {"text_field": "a…"}],
            "inference_config": {"text_similarity": {"text": "q"}},
        },
    )
    assert answer == {
        "inference_results": [{"predicted_value": 3.0}, {"predicted_value": 2.0, "is_truncated": True}]
    }
    (stats,) = (await served.call("GET", f"{PATH}/mine/_stats"))["trained_model_stats"]
    assert stats["model_size_stats"]["model_size_bytes"] == 5
    updated = await served.call("POST", f"{PATH}/mine/deployment/_update", {"number_of_allocations": 2})
    assert updated["assignment"]["task_parameters"]["number_of_allocations"] == 2
    assert await served.call("POST", f"{PATH}/mine/deployment/_stop") == {"stopped": True}
    assert await served.call("DELETE", f"{PATH}/mine") == acknowledged
    assert await ids(served, PATH) == (0, [])
    assert served.gate.asked == [
        privileges.GET_MODEL,
        privileges.PUT_MODEL,
        privileges.PUT_MODEL_PART,
        privileges.PUT_MODEL_PART,
        privileges.PUT_MODEL_VOCABULARY,
        privileges.START_DEPLOYMENT,
        privileges.INFER_MODEL,
        privileges.GET_MODEL_STATS,
        privileges.UPDATE_DEPLOYMENT,
        privileges.STOP_DEPLOYMENT,
        privileges.DELETE_MODEL,
        privileges.GET_MODEL,
    ]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", f"{PATH}/theirs", None),
        ("GET", f"{PATH}/theirs/_stats", None),
        ("PUT", f"{PATH}/theirs", {"model_type": "pytorch", "inference_config": {"ner": {}}}),
        ("PUT", f"{PATH}/.elser_model_2", {"input": {"field_names": ["text_field"]}}),
        ("PUT", f"{PATH}/theirs/definition/0", {}),
        ("PUT", f"{PATH}/theirs/vocabulary", {}),
        ("POST", f"{PATH}/theirs/deployment/_start", None),
        ("POST", f"{PATH}/theirs/deployment/_update", {}),
        ("POST", f"{PATH}/theirs/deployment/_stop", None),
        ("POST", f"{PATH}/theirs/_infer", {}),
        ("POST", f"{PATH}/theirs/deployment/_infer", {}),
        ("DELETE", f"{PATH}/theirs", None),
        ("PUT", f"{PATH}/theirs/model_aliases/x", None),
        ("POST", f"{PATH}/theirs/deployment/cache/_clear", None),
        ("PATCH", f"{PATH}/theirs", None),
    ],
)
async def test_what_is_upstreams_where_it_has_models(
    served: Served, method: str, target: str, body: Any
) -> None:
    await upload(served.models, "mine")
    assert await served.raw(method, target, body) is None


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", f"{PATH}/theirs", None, 404),
        ("PUT", f"{PATH}/theirs", {"inference_config": {"ner": {}}}, 400),
        ("PUT", f"{PATH}/theirs/definition/0", {}, 404),
        ("PUT", f"{PATH}/theirs/vocabulary", {}, 404),
        ("POST", f"{PATH}/theirs/deployment/_start", None, 404),
        ("POST", f"{PATH}/theirs/deployment/_update", {}, 404),
        ("POST", f"{PATH}/theirs/deployment/_stop?allow_no_match=false", None, 404),
        ("POST", f"{PATH}/theirs/_infer", {"docs": []}, 404),
        ("DELETE", f"{PATH}/theirs", None, 404),
    ],
)
async def test_what_is_unknown_everywhere(
    served: Served, method: str, target: str, body: Any, status: int
) -> None:
    served.upstream.has_models = False
    assert (await served.refusal(method, target, body))[0] == status


async def test_lists_are_merged(served: Served) -> None:
    for name in ("a", "z"):
        await upload(served.models, name)
    await served.models.catalogue.create(TAGGED)
    everything = ["a", "lang_ident_model_1", "tagged", "z"]
    assert await ids(served, PATH) == (4, everything)
    assert await ids(served, f"{PATH}/_all") == (4, everything)
    assert await ids(served, f"{PATH}?from=1&size=2") == (4, everything[1:3])
    assert await ids(served, f"{PATH}/a,lang_ident_model_1") == (2, ["a", "lang_ident_model_1"])
    assert await ids(served, f"{PATH}/a,z") == (2, ["a", "z"])
    assert await ids(served, f"{PATH}/t*") == (1, ["tagged"])
    before = len(served.upstream.asked)
    assert await ids(served, f"{PATH}/a") == (1, ["a"])
    assert len(served.upstream.asked) == before  # which need not be asked for what is ours
    stats = await served.call("GET", f"{PATH}/_stats")
    assert (stats["count"], [each["model_id"] for each in stats["trained_model_stats"]]) == (4, everything)
    with pytest.raises(UpstreamRefusedError):
        await served.raw("GET", f"{PATH}/a,unknown")


async def test_lists_without_upstreams(served: Served) -> None:
    served.upstream.has_models = False
    await upload(served.models, "a")
    await served.models.catalogue.create(TAGGED)
    assert await ids(served, PATH) == (2, ["a", "tagged"])
    assert await ids(served, f"{PATH}?tags=two") == (1, ["tagged"])
    assert await ids(served, f"{PATH}?tags=two,three") == (0, [])
    assert await ids(served, f"{PATH}?size=0") == (2, [])
    assert await ids(served, f"{PATH}/x*") == (0, [])
    missing = "No known trained model with model_id"
    assert await served.refusal("GET", f"{PATH}/a,b,c") == (404, f"{missing} [b,c]")
    assert await served.refusal("GET", f"{PATH}/x*?allow_no_match=false") == (404, f"{missing} [x*]")
    shown = await served.call("GET", f"{PATH}?include=definition_status&exclude_generated=true")
    assert [each["fully_defined"] for each in shown["trained_model_configs"]] == [True, False]
    assert "create_time" not in shown["trained_model_configs"][0]
    assert "unknown [include] parameter [x]" in (await served.refusal("GET", f"{PATH}?include=x"))[1]
    assert (await served.refusal("GET", f"{PATH}?from=-1"))[1] == "Parameter [from] cannot be < 0"


async def test_an_id_that_upstream_has(served: Served) -> None:
    assert await served.refusal("PUT", f"{PATH}/lang_ident_model_1", CONFIG) == (
        400,
        "Trained machine learning model [lang_ident_model_1] already exists",
    )


async def test_an_id_that_is_not_an_id(served: Served) -> None:
    for name in ("..%2F..%2Fetc", "%2e%2e", "A"):
        assert "Invalid model_id" in (await served.refusal("PUT", f"{PATH}/{name}", CONFIG))[1]


async def test_a_caller_who_may_not_is_refused_before_anything_is_read(served: Served) -> None:
    served.gate.refused.add(privileges.PUT_MODEL)
    assert await served.refusal("PUT", f"{PATH}/mine", CONFIG) == (403, privileges.PUT_MODEL.name)
    assert served.models.catalogue.all() == []


async def test_a_model_that_an_endpoint_uses_is_not_deleted_unless_by_force(served: Served) -> None:
    await upload(served.models, "mine")
    served.in_use.add("mine")
    assert (await served.refusal("DELETE", f"{PATH}/mine"))[0] == 409
    await served.call("DELETE", f"{PATH}/mine?force")
    assert served.models.catalogue.find("mine") is None


async def test_bad_requests(served: Served) -> None:
    await upload(served.models, "mine")
    assert (
        "unrecognized parameter: [forec] -> did you mean [force]?"
        in (await served.refusal("DELETE", f"{PATH}/mine?forec"))[1]
    )
    assert (await served.refusal("PUT", f"{PATH}/mine/definition/x", {}))[1] == (
        "Failed to parse int parameter [part] with value [x]"
    )
    assert (await served.refusal("PUT", f"{PATH}/mine/vocabulary"))[1] == "request body is required"
    answer = await served.raw("PUT", f"{PATH}/mine", CONFIG, {"Content-Type": "text/plain"})
    assert answer is not None
    assert answer.status == 406


async def test_answers_are_pretty_where_that_is_wanted(served: Served) -> None:
    await upload(served.models, "mine")
    answer = await served.raw("DELETE", f"{PATH}/mine?pretty")
    assert answer is not None
    assert answer.body == b'{\n  "acknowledged" : true\n}\n'
