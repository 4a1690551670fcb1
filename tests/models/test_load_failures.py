"""Why a model cannot be loaded is said in one line, and the others go on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_proxy.engine import ModelFailedError
from tests.models.conftest import TinyModel
from tests.support import tiny_models
from tests.support.engines import running


@pytest.fixture
def copy(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """Copy a model, so that the test may damage it."""
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))


def change_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


async def refusal(model: Path, **settings: object) -> str:
    """Return why the engine does not load the model, and check that all places say the same in one line."""
    async with running({"bad": {"source": model, **settings}}) as engine:
        with pytest.raises(ModelFailedError) as failed:
            await engine.scores("bad", "a query", ["a text"])
        status = engine.status()["bad"]
    assert status.state == "failed"
    assert status.detail == str(failed.value)
    assert str(model) in status.detail
    assert "\n" not in status.detail
    return status.detail


async def test_no_such_directory(tmp_path: Path) -> None:
    assert "there is no directory" in await refusal(tmp_path / "nothing")


async def test_no_model_in_it(tmp_path: Path) -> None:
    assert "has no config.json" in await refusal(tmp_path)


async def test_three_labels(tmp_path: Path) -> None:
    assert "gives 3 labels (LABEL_0, LABEL_1, LABEL_2); a reranker has exactly one" in await refusal(
        tiny_models.build("bert", tmp_path, labels=3)
    )


async def test_a_setting_of_embeddings_for_a_cross_encoder(copy: Path) -> None:
    assert "remove its [truncate_dim]" in await refusal(copy, truncate_dim=8)


async def test_an_encoder_without_a_head(tmp_path: Path) -> None:
    assert "without a scoring head" in await refusal(tiny_models.build_encoder("bert", tmp_path))


def damage_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def remove_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def headless_weights(model: Path) -> None:
    tiny_models.build_encoder("bert", model.parent / "other")
    shutil.copy(model.parent / "other" / "model.safetensors", model)


def other_weights(model: Path) -> None:
    tiny_models.build_encoder("electra", model.parent / "other")
    shutil.copy(model.parent / "other" / "model.safetensors", model)


def other_sizes(model: Path) -> None:
    change_config(model, intermediate_size=48)


def remove_tokenizer(model: Path) -> None:
    for path in (*model.glob("tokenizer*"), *model.glob("vocab*")):
        path.unlink()


def damage_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").write_text("{}")


def other_tokenizer(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary.update({f"more{number}": len(vocabulary) + number for number in range(10)})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))


def unknown_type(model: Path) -> None:
    change_config(model, model_type="no-such-type")


def own_code(model: Path) -> None:
    auto_map = {"AutoConfig": "code.Config", "AutoModelForSequenceClassification": "code.Model"}
    change_config(model, model_type="new", architectures=["NewForSequenceClassification"], auto_map=auto_map)
    (model / "code.py").write_text("raise SystemExit('this code must never run')")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damage_weights, "model.safetensors] is cut short"),
        (remove_weights, "has no weights (model.safetensors); copy or download the model again"),
        (headless_weights, "the weights of BertForSequenceClassification lack [classifier."),
        (other_weights, "the files are incomplete or of different models"),
        (other_sizes, "are of another size than config.json says at [bert.encoder.layer.0.intermediate"),
        (remove_tokenizer, "has no tokenizer (tokenizer.json)"),
        (damage_tokenizer, "its tokenizer cannot be loaded"),
        (other_tokenizer, "they do not belong together"),
        (unknown_type, "its config.json cannot be used"),
        (
            own_code,
            "needs Python code of its own ([auto_map] names [code.Config]), which is not run",
        ),
    ],
)
async def test_spoilt_files(copy: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(copy)
    assert reason in await refusal(copy)


async def test_more_tokens_than_the_model_has_positions_for(copy: Path) -> None:
    assert "has positions for 48 tokens; max_length 512 is too much" in await refusal(copy, max_length=512)


async def test_a_limit_that_leaves_no_room(copy: Path) -> None:
    assert "leaves no room" in await refusal(copy, max_length=4)


async def test_a_device_that_is_not_there(copy: Path) -> None:
    async with running({"m": copy}, device="cuda:77") as engine:
        with pytest.raises(ModelFailedError, match=r"engine\.device \[cuda:77\] cannot be used here"):
            await engine.scores("m", "a query", ["a text"])


async def test_weights_that_make_no_numbers(copy: Path) -> None:
    import safetensors.torch

    weights = safetensors.torch.load_file(copy / "model.safetensors")
    weights["classifier.weight"].fill_(float("nan"))
    safetensors.torch.save_file(weights, copy / "model.safetensors", {"format": "pt"})
    said = await refusal(copy)
    assert "not finite in fp32; its weights are probably damaged: copy the model again" in said
    assert "engine.precision" not in said


async def test_numbers_that_low_precision_cannot_hold(copy: Path) -> None:
    import safetensors.torch

    weights = safetensors.torch.load_file(copy / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.weight"].fill_(1e5)
    safetensors.torch.save_file(weights, copy / "model.safetensors", {"format": "pt"})
    async with running({"m": copy}, precision="fp16") as engine:
        with pytest.raises(
            ModelFailedError, match=r"\[fp16\]: its order is too different .* set it to `fp32`"
        ):
            await engine.scores("m", "a query", ["a text"])
    async with running({"m": copy}) as engine:
        assert len((await engine.scores("m", "a query", ["a text"])).values) == 1


async def test_a_bad_model_does_not_disturb_a_good_one(tiny_model: TinyModel, tmp_path: Path) -> None:
    async with running({"bad": tmp_path, "good": tiny_model("bert")}) as engine:
        assert len((await engine.scores("good", "a query", ["a text"])).values) == 1
        assert {name: status.state for name, status in engine.status().items()} == {
            "bad": "failed",
            "good": "ready",
        }
