"""Upload models: in any order, with interruptions, concurrently, and across a restart."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.trained_models.definition import PartialDefinition
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.requests.parts import DefinitionPart
from rerank_proxy.trained_models.service import TrainedModels
from tests.support.trained_models import VOCABULARY, NotingEngine, config_of, models_in, parts_of, upload

PROGRAM = b"a program that is only bytes here"


@pytest.fixture
def engine() -> NotingEngine:
    return NotingEngine("settings-model")


@pytest.fixture
async def models(tmp_path: Path, engine: NotingEngine) -> AsyncIterator[TrainedModels]:
    trained = models_in(tmp_path, engine, max_models=3, max_uploads=2, max_model_size=1000)
    await trained.start()
    yield trained
    await trained.close()


async def refused(work: Any) -> tuple[int, str, str]:
    with pytest.raises(ElasticsearchError) as failure:
        await work
    return failure.value.status, failure.value.cause.type, str(failure.value)


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


async def test_a_model_is_whole_when_program_and_vocabulary_are_there(
    models: TrainedModels, engine: NotingEngine, tmp_path: Path
) -> None:
    catalogue = models.catalogue
    await catalogue.create(config_of("mine"))
    for part in parts_of(PROGRAM, [10, 10, len(PROGRAM) - 20]):
        await catalogue.put_part("mine", part)
        assert not catalogue.is_complete("mine")
    await catalogue.put_vocabulary("mine", VOCABULARY)
    assert catalogue.is_complete("mine")
    assert catalogue.get("mine").size == len(PROGRAM)
    assert engine.models == {"mine": tmp_path / "mine"}
    assert (tmp_path / "mine" / "mine.pt").read_bytes() == PROGRAM
    metadata = json.loads((tmp_path / "mine" / "mine.metadata.json").read_bytes())
    assert metadata["packaged_model_id"] == "mine"
    assert metadata["size"] == len(PROGRAM)
    assert files(tmp_path) == {
        f"mine/{name}" for name in ("mine.pt", "mine.metadata.json", "mine.vocab.json", "trained_model.json")
    }


async def test_the_vocabulary_may_come_first(models: TrainedModels) -> None:
    await models.catalogue.create(config_of("mine"))
    await models.catalogue.put_vocabulary("mine", VOCABULARY)
    first, second = parts_of(PROGRAM, [10, len(PROGRAM) - 10])
    await models.catalogue.put_part("mine", second)
    assert not models.catalogue.is_complete("mine")
    await models.catalogue.put_part("mine", first)
    assert models.catalogue.is_complete("mine")


async def test_what_is_missing_is_said(models: TrainedModels) -> None:
    catalogue = models.catalogue
    await catalogue.create(config_of("mine"))

    def missing() -> tuple[int, str]:
        with pytest.raises(ElasticsearchError) as failure:
            catalogue.get_complete("mine")
        return failure.value.status, str(failure.value)

    assert missing() == (404, "Could not find trained model definition [mine]")
    first, second = parts_of(PROGRAM, [10, len(PROGRAM) - 10])
    await catalogue.put_part("mine", first)
    assert missing() == (
        400,
        "Model definition truncated. Unable to deserialize trained model definition [mine]",
    )
    await catalogue.put_part("mine", second)
    assert missing() == (
        404,
        "[mine] Could not find vocabulary document [mine_vocabulary] for model",
    )
    await catalogue.put_vocabulary("mine", VOCABULARY)
    assert catalogue.get_complete("mine").model_id == "mine"


async def test_two_uploads_of_one_id(models: TrainedModels) -> None:
    await models.catalogue.create(config_of("mine"))
    exists = (
        400,
        "resource_already_exists_exception",
        "Trained machine learning model [mine] already exists",
    )
    assert await refused(models.catalogue.create(config_of("mine"))) == exists
    await models.delete("mine", in_use=False, force=False)
    await upload(models, "mine")
    assert await refused(models.catalogue.create(config_of("mine"))) == exists
    (part,) = parts_of(PROGRAM, [len(PROGRAM)])
    assert (await refused(models.catalogue.put_part("mine", part)))[1:] == (
        "resource_already_exists_exception",
        "Trained machine learning model chunked doc [mine][0] already exists",
    )
    assert (await refused(models.catalogue.put_vocabulary("mine", VOCABULARY)))[0] == 400


async def test_no_model_takes_the_name_of_one_of_the_settings(models: TrainedModels) -> None:
    assert (await refused(models.catalogue.create(config_of("settings-model"))))[0] == 400


async def test_models_and_uploads_are_bounded(models: TrainedModels) -> None:
    await models.catalogue.create(config_of("a"))
    await models.catalogue.create(config_of("b"))
    status, kind, reason = await refused(models.catalogue.create(config_of("c")))
    assert (status, kind) == (429, "es_rejected_execution_exception")
    assert "trained_models.max_uploads" in reason
    await models.delete("b", in_use=False, force=False)
    await upload(models, "c")
    await upload(models, "d")
    status, _, reason = await refused(models.catalogue.create(config_of("e")))
    assert status == 409
    assert "trained_models.max_models" in reason


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_an_abandoned_upload_gives_its_place_to_another(tmp_path: Path, engine: NotingEngine) -> None:
    clock = Clock()
    models = models_in(tmp_path, engine, max_uploads=2, upload_idle_s=30, clock=clock)
    await models.start()
    catalogue = models.catalogue
    for name in ("first", "second"):
        await catalogue.create(config_of(name), b"them")
    await catalogue.put_part("first", parts_of(PROGRAM, [10, len(PROGRAM) - 10])[0])
    clock.now += 20
    await catalogue.put_vocabulary("first", VOCABULARY)
    assert (await refused(catalogue.create(config_of("third"), b"them")))[0] == 429
    clock.now += 10
    await catalogue.create(config_of("third"), b"them")
    assert [each.model_id for each in catalogue.all()] == ["first", "third"]
    assert (await refused(catalogue.put_vocabulary("second", VOCABULARY)))[0] == 404
    clock.now += 30
    await catalogue.create(config_of("fourth"), b"them")
    assert [each.model_id for each in catalogue.all()] == ["fourth", "third"]
    await models.close()
    assert not any("first" in name for name in files(tmp_path))


async def test_a_caller_with_many_uploads_keeps_no_other_out(tmp_path: Path, engine: NotingEngine) -> None:
    models = models_in(tmp_path, engine, max_uploads=2)
    await models.start()
    for name in ("first", "second"):
        await models.catalogue.create(config_of(name), b"greedy")
    await models.catalogue.create(config_of("mine"), b"me")
    assert [each.model_id for each in models.catalogue.all()] == ["mine", "second"]
    assert (await refused(models.catalogue.create(config_of("more"), b"me")))[0] == 429
    await models.close()


async def test_the_disk_is_bounded_by_what_is_announced(tmp_path: Path, engine: NotingEngine) -> None:
    models = models_in(tmp_path, engine, max_total_size=100)
    await models.start()
    await upload(models, "whole", b"x" * 40)
    catalogue = models.catalogue
    for name in ("a", "b"):
        await catalogue.create(config_of(name))
    await catalogue.put_part("a", DefinitionPart(0, b"x", 50, 2))
    status, _, reason = await refused(catalogue.put_part("b", DefinitionPart(0, b"x", 11, 2)))
    assert (status, "trained_models.max_total_size" in reason) == (409, True)
    await catalogue.put_part("a", DefinitionPart(1, b"x" * 49, 50, 2))
    await models.delete("a", in_use=False, force=False)
    await catalogue.put_part("b", DefinitionPart(0, b"x", 60, 2))
    await models.close()

    after = models_in(tmp_path, NotingEngine(), max_total_size=100)
    await after.start()
    await after.catalogue.create(config_of("c"))
    assert (await refused(after.catalogue.put_part("c", DefinitionPart(0, b"x", 61, 2))))[0] == 409
    await after.close()


async def test_what_must_not_be_loaded_is_remembered_until_it_was_ready(tmp_path: Path) -> None:
    before = models_in(tmp_path, NotingEngine())
    await before.start()
    await upload(before, "mine")
    await before.close()

    for blocked in ({"mine": "it had no end"}, {}):  # the engine forgets with the process, the files do not
        engine = NotingEngine()
        engine.blocked = blocked
        models = models_in(tmp_path, engine)
        await models.start()
        assert engine.status()["mine"].detail == "it had no end"
        await models.close()
    engine.on_ready["mine"]()
    await models.close()

    after = models_in(tmp_path, engine := NotingEngine())
    await after.start()
    assert engine.status()["mine"].state == "ready"
    await after.close()


async def test_what_can_never_run_is_refused_while_it_is_uploaded(models: TrainedModels) -> None:
    config = config_of("japanese", inference_config={"text_similarity": {"tokenization": {"bert_ja": {}}}})
    assert await refused(models.catalogue.create(config)) == (
        400,
        "status_exception",
        "the tokenization [bert_ja] is not supported; known: bert, mpnet, roberta, xlm_roberta, deberta_v2",
    )
    await models.catalogue.create(config_of("mine"))
    assert await refused(models.catalogue.put_vocabulary("mine", Vocabulary(["[CLS]"]))) == (
        400,
        "status_exception",
        "the vocabulary is missing required [[UNK]] token",
    )


class Held(PartialDefinition):
    """A definition whose parts are written when the test allows it."""

    entered = threading.Event()
    go_on = threading.Event()

    def put(self, part: DefinitionPart) -> None:
        self.entered.set()
        assert self.go_on.wait(30)
        super().put(part)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> type[Held]:
    Held.entered.clear()
    Held.go_on.clear()
    monkeypatch.setattr("rerank_proxy.trained_models.directory.PartialDefinition", Held)
    return Held


async def test_delete_while_a_part_is_written(
    models: TrainedModels, engine: NotingEngine, tmp_path: Path, held: type[Held]
) -> None:
    await models.catalogue.create(config_of("mine"))
    await models.catalogue.put_vocabulary("mine", VOCABULARY)
    first, second = parts_of(PROGRAM, [10, len(PROGRAM) - 10])
    writing = asyncio.create_task(models.catalogue.put_part("mine", first))
    await asyncio.to_thread(held.entered.wait)
    after = asyncio.create_task(models.catalogue.put_part("mine", second))
    deleting = asyncio.create_task(models.delete("mine", in_use=False, force=False))
    held.go_on.set()
    await asyncio.gather(writing, after, deleting)
    assert models.catalogue.find("mine") is None  # the last part had made it whole, and it went all the same
    assert engine.models == {}
    assert files(tmp_path) == set()


async def test_a_part_for_a_model_that_was_deleted_meanwhile(
    models: TrainedModels, tmp_path: Path, held: type[Held]
) -> None:
    await models.catalogue.create(config_of("mine"))
    first, second = parts_of(PROGRAM, [10, len(PROGRAM) - 10])
    writing = asyncio.create_task(models.catalogue.put_part("mine", first))
    await asyncio.to_thread(held.entered.wait)
    deleting = asyncio.create_task(models.delete("mine", in_use=False, force=False))
    await asyncio.sleep(0)  # it waits for the part, and the next one behind it
    late = asyncio.create_task(models.catalogue.put_part("mine", second))
    held.go_on.set()
    await asyncio.gather(writing, deleting)
    assert await refused(late) == (
        404,
        "resource_not_found_exception",
        "No known trained model with model_id [mine]",
    )
    assert files(tmp_path) == set()


async def test_a_client_that_leaves_does_not_leave_half_a_part(
    models: TrainedModels, tmp_path: Path, held: type[Held]
) -> None:
    await models.catalogue.create(config_of("mine"))
    await models.catalogue.put_vocabulary("mine", VOCABULARY)
    (part,) = parts_of(PROGRAM, [len(PROGRAM)])
    writing = asyncio.create_task(models.catalogue.put_part("mine", part))
    await asyncio.to_thread(held.entered.wait)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    held.go_on.set()
    await models.close()
    assert models.catalogue.is_complete("mine")


async def test_an_upload_without_a_further_part_is_removed(
    tmp_path: Path, engine: NotingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = asyncio.Event()
    before: list[str] = []
    detach = ModelDirectory.detach_upload

    def notice(self: ModelDirectory, model_id: str) -> Path:
        before.extend(files(tmp_path))
        removed.set()
        return detach(self, model_id)

    monkeypatch.setattr(ModelDirectory, "detach_upload", notice)
    models = models_in(tmp_path, engine, upload_timeout_s=0.05)
    await models.start()
    await upload(models, "whole")
    await models.catalogue.create(config_of("mine"))
    await models.catalogue.put_part("mine", parts_of(PROGRAM, [10, len(PROGRAM) - 10])[0])
    await removed.wait()
    assert any(".uploads" in name for name in before)
    assert models.catalogue.find("mine") is None
    await models.close()
    assert not any(".uploads" in name for name in files(tmp_path))
    assert models.catalogue.is_complete("whole")


async def test_restart(tmp_path: Path, engine: NotingEngine) -> None:
    before = models_in(tmp_path, engine)
    await before.start()
    await upload(before, "whole", PROGRAM)
    await before.catalogue.create(config_of("half"))
    await before.catalogue.put_part("half", parts_of(PROGRAM, [10, len(PROGRAM) - 10])[0])
    shown = before.catalogue.get("whole").document()
    await before.close()

    after = models_in(tmp_path, engine := NotingEngine())
    await after.start()
    assert [config.model_id for config in after.catalogue.all()] == ["whole"]
    assert after.catalogue.get("whole").document() == shown
    assert engine.models == {"whole": tmp_path / "whole"}
    assert not any(name.startswith(".") for name in files(tmp_path))
    await after.catalogue.create(config_of("half"))  # it can begin anew
    await after.close()


async def test_two_proxies_on_one_directory_leave_each_others_uploads(
    tmp_path: Path, engine: NotingEngine
) -> None:
    one = models_in(tmp_path, engine)
    await one.start()
    await one.catalogue.create(config_of("mine"))
    first, second = parts_of(PROGRAM, [10, len(PROGRAM) - 10])
    await one.catalogue.put_part("mine", first)

    other = models_in(tmp_path, NotingEngine())
    await other.start()
    await other.catalogue.create(config_of("theirs"))
    await other.close()

    await one.catalogue.put_part("mine", second)
    await one.catalogue.put_vocabulary("mine", VOCABULARY)
    assert one.catalogue.is_complete("mine")
    await one.close()
    assert not any(".uploads" in name for name in files(tmp_path))


async def test_a_directory_that_is_not_a_model_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, engine: NotingEngine
) -> None:
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "trained_model.json").write_text("{")
    models = models_in(tmp_path, engine)
    await models.start()
    assert models.catalogue.all() == []
    assert "is not an uploaded model and is not served" in caplog.text
    assert (tmp_path / "stranger").exists()


async def test_a_full_disk(
    models: TrainedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await models.catalogue.create(config_of("mine"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (part,) = parts_of(PROGRAM, [len(PROGRAM)])
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert await refused(models.catalogue.put_part("mine", part)) == (
            500,
            "status_exception",
            "the model could not be saved: No space left on device",
        )
    (record,) = caplog.records
    assert record.exc_info is None
    told = record.getMessage()
    assert told.startswith(f"a model could not be saved: {tmp_path}")
    assert told.endswith(
        ": No space left on device; make room there; it is tried again with the next request"
    )
    await models.catalogue.put_part("mine", part)
    await models.catalogue.put_vocabulary("mine", VOCABULARY)
    assert models.catalogue.is_complete("mine")
