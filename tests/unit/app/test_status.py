"""What the application tells of its endpoints, for the status page."""

from pathlib import Path

import pytest

from rerank_proxy.app.recent import Recent
from rerank_proxy.app.status import Status
from rerank_proxy.engine import Engine, ModelFailedError
from rerank_proxy.inference.failures import InferenceFailedError, because, status_error
from rerank_proxy.settings import EndpointSettings, EngineSettings, ModelSettings
from tests.support.endpoints import local_endpoints


async def test_endpoints_tell_of_their_model_and_of_their_last_call(tmp_path: Path) -> None:
    """No call is needed to see that a model failed."""
    models = {
        "bad": ModelSettings(source=str(tmp_path)),
        "good": ModelSettings(source="org/name", preload=False),
    }
    engine = Engine(models, EngineSettings())
    endpoints = local_endpoints({name: EndpointSettings(model=name) for name in models}, engine)
    status = Status(engine, endpoints, Recent(), dict)
    await engine.start()
    try:
        with pytest.raises(ModelFailedError):
            await engine.wait_ready("bad")
        bad, good = status.shown()["endpoints"]
        assert (bad["usable"], bad["reason"]) == (False, "its model [bad] failed")
        assert (good["usable"], good["reason"]) == (True, None)
        endpoint = await endpoints.find("good")
        assert endpoint is not None
        with pytest.raises(InferenceFailedError), endpoint.last_call.around():
            raise because("deadline", status_error(429, "the query was whisper"))
        _, good = status.shown()["endpoints"]
        assert (good["usable"], good["reason"]) == (True, "the last call failed: they were not done in time")
    finally:
        await engine.close()
