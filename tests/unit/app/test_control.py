"""What the application says about itself to the supervisor."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from rerank_proxy.app.reloading import Reloading
from rerank_proxy.engine import Engine, ModelFailedError
from rerank_proxy.observe.admin import Readiness
from rerank_proxy.settings import EngineSettings, InvalidSettingsError, ModelSettings, Settings, load
from tests.support.app_control import control_app


async def readiness(engine: Engine) -> tuple[int, Readiness]:
    async with TestClient(TestServer(control_app(engine))) as client:
        answer = await client.get("/ready")
        return answer.status, msgspec.json.decode(await answer.read(), type=Readiness)


@pytest.mark.parametrize("preload", [True, False])
async def test_only_models_that_are_always_loaded_hold_it_up(tmp_path: Path, preload: bool) -> None:
    models = {
        "later": ModelSettings(source=str(tmp_path), preload=False),
        "broken": ModelSettings(source=str(tmp_path), preload=preload),
    }
    engine = Engine(models, EngineSettings())
    await engine.start()
    try:
        with pytest.raises(ModelFailedError) as failed:
            await engine.wait_ready("broken")
        status, said = await readiness(engine)
        assert {name: model.state for name, model in said.models.items()} == {
            "later": "unloaded",
            "broken": "failed",
        }
        if preload:
            assert (status, said.reason()) == (503, f"model [broken] failed: {failed.value}")
        else:
            assert (status, said.ready, said.reason()) == (200, True, None)
    finally:
        await engine.close()


async def test_models_are_loaded_again_when_the_supervisor_asks(tmp_path: Path) -> None:
    engine = Engine({"m": ModelSettings(source=str(tmp_path))}, EngineSettings())
    await engine.start()
    try:
        with pytest.raises(ModelFailedError, match=r"no config\.json"):
            await engine.wait_ready("m")
        await asyncio.to_thread((tmp_path / "config.json").write_text, "{}")
        async with TestClient(TestServer(control_app(engine))) as client:
            answer = await client.post("/reload", data=load(None, {}, {}).dump_with_secrets())
            assert answer.status == 202
        assert engine.status()["m"].state == "failed", "it says so until it is loaded"
        with pytest.raises(ModelFailedError, match="names no architecture"):
            await engine.wait_ready("m")
    finally:
        await engine.close()


async def test_settings_are_used_or_refused_as_a_whole() -> None:
    used: list[str] = []

    def check(settings: Settings) -> None:
        if settings.log.level == "error":
            raise InvalidSettingsError("[a]: wrong", "[b]: wrong, too")

    reloading = Reloading()
    reloading.add(check)
    reloading.add(lambda settings: used.append(settings.log.level))
    server = TestServer(control_app(Engine({}, EngineSettings()), reloading))
    async with TestClient(server) as client:
        statuses = []
        for level in ("debug", "error", "info"):
            settings = load(None, {"log": {"level": level}}, {})
            answer = await client.post("/reload", data=settings.dump_with_secrets())
            statuses.append(answer.status)
            if answer.status == 400:
                assert await answer.json() == {"faults": ["[a]: wrong", "[b]: wrong, too"]}
    assert (statuses, used) == ([202, 400, 202], ["debug", "info"])
