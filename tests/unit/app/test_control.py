"""What the application says about itself to the supervisor."""

from pathlib import Path

import msgspec
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from proxy.app.control import application
from proxy.engine import Engine, EngineError
from proxy.observe.admin import Readiness
from proxy.settings import EngineSettings, ModelSettings


async def readiness(engine: Engine) -> tuple[int, Readiness]:
    async with TestClient(TestServer(application(engine, CollectorRegistry()))) as client:
        answer = await client.get("/ready")
        return answer.status, msgspec.json.decode(await answer.read(), type=Readiness)


async def test_a_model_that_is_loaded_when_it_is_needed_does_not_hold_it_up(tmp_path: Path) -> None:
    models = {name: ModelSettings(source=str(tmp_path), preload=False) for name in ("later", "broken")}
    engine = Engine(models, EngineSettings())
    await engine.start()
    try:
        status, said = await readiness(engine)
        assert (status, said.ready, said.reason()) == (200, True, None)
        assert {name: model.state for name, model in said.models.items()} == dict.fromkeys(models, "unloaded")
        try:
            await engine.wait_ready("broken")
        except EngineError as error:
            failure = str(error)
        status, said = await readiness(engine)
        assert (status, said.reason()) == (503, f"model [broken] failed: {failure}")
    finally:
        await engine.close()
