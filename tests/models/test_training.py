"""Trainings of tiny models: what is saved scores alike everywhere, and what does not help is not better."""

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.training import heads
from rerank_proxy.relevance.training.bases import kind_of
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.results import write
from rerank_proxy.relevance.training.running import Outcome, run
from tests.models.conftest import TinyModel
from tests.support import tiny_models
from tests.support.engines import running
from tests.support.quiet import quiet
from tests.support.trainings import material, plan, teacher_of

TOLERANCE = 1e-4
DIMENSIONS = 32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder."""
    encoder = tiny_models.build_encoder("bert", tmp_path_factory.mktemp("encoder"))
    directory = tmp_path_factory.mktemp("bi-encoder") / "tiny"
    modules = [Transformer(str(encoder)), Pooling(DIMENSIONS), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(directory), create_model_card=False)
    return directory


@pytest.fixture(autouse=True)
def deterministic_again() -> Any:
    """Leave torch as it was for other tests."""
    yield
    torch.use_deterministic_algorithms(False)


def trained(work: Path, made: Material, **given: Any) -> Outcome:
    return run(plan(work, **given), made, quiet, lambda line: None)


async def served(directory: Path, outcome: Outcome) -> None:
    """Check that the engine gives the scores with which the model was measured."""
    made = outcome.material
    query = next(iter(made.queries))
    async with running({"mine": directory}) as engine:
        window = made.window(query)
        texts = [made.texts[name] for name in window]
        found = await engine.scores("mine", made.queries[query].text, texts)
    expected = outcome.ready.model.scores([query])[query]
    np.testing.assert_allclose(found.values, [expected[name] for name in window], atol=TOLERANCE)
    assert np.ptp(found.values) > 1e-3, "scores that hardly differ prove nothing"


async def test_a_head_that_helps(base: Path, tmp_path: Path) -> None:
    outcome = trained(tmp_path, material(102), base=base, folds=3)
    assert outcome.choice.recipe == "head"
    assert outcome.assessment.beside_fused is not None
    assert outcome.assessment.better, outcome.assessment.sentence()
    write(outcome, tmp_path / "out", by_teacher=False)
    assert kind_of(tmp_path / "out") == "bi-encoder"
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert {module["type"].rpartition(".")[0] for module in modules} == {"sentence_transformers.models"}
    assert "base_model: tiny" in (tmp_path / "out" / "README.md").read_text()
    await served(tmp_path / "out", outcome)


def test_a_fusion_writes_no_model(base: Path, tmp_path: Path) -> None:
    outcome = trained(tmp_path, material(24), base=base, recipe="fusion", name="films")
    write(outcome, tmp_path / "out", by_teacher=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "retriever.json",
        "evaluation.json",
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`DIRECTORY` is that of tiny." in card
    assert str(base.parent) not in card


def test_the_same_input_gives_the_same_head(base: Path, tmp_path: Path) -> None:
    made = material(24)
    first, second = (trained(tmp_path / name, made, base=base, recipe="head") for name in "ab")
    assert torch.equal(_weight(first), _weight(second))


def _weight(outcome: Outcome) -> torch.Tensor:
    model: Any = outcome.ready.model
    weight: torch.Tensor = model.weight
    return weight


def test_judgments_without_sense_do_not_help(base: Path, tmp_path: Path) -> None:
    outcome = trained(tmp_path, material(40, learnable=False), base=base, recipe="head")
    assert not outcome.assessment.better
    assert outcome.assessment.sentence().startswith("The trained model is not shown to be better")


@pytest.mark.parametrize("more", ["nothing", "teacher", "titles"])
async def test_a_bi_encoder(base: Path, tmp_path: Path, more: str) -> None:
    made = material(40)
    if more == "teacher":
        made = replace(made, teacher=teacher_of(made))
    elif more == "titles":
        made = replace(made, titles={name: f"{name} {text[:8]}" for name, text in [*made.texts.items()][:40]})
    outcome = trained(tmp_path, made, base=base, recipe="bi-encoder")
    (part,) = outcome.parts
    assert outcome.assessment.queries == len(part.held_out)
    write(outcome, tmp_path / "out", by_teacher=False)
    await served(tmp_path / "out", outcome)


@pytest.mark.parametrize(
    ("start", "loss"),
    [
        ("bi-encoder", "lambda"),
        ("cross-encoder", "bce"),
        pytest.param("bi-encoder", "bce", marks=pytest.mark.long),
        pytest.param("cross-encoder", "lambda", marks=pytest.mark.long),
    ],
)
async def test_a_cross_encoder(
    base: Path, tiny_model: TinyModel, tmp_path: Path, start: str, loss: str
) -> None:
    chosen = base if start == "bi-encoder" else tiny_model("bert")
    outcome = trained(tmp_path, material(40), base=chosen, recipe="cross-encoder", loss=loss)
    write(outcome, tmp_path / "out", by_teacher=False)
    assert kind_of(tmp_path / "out") == "cross-encoder"
    words = (tmp_path / "out" / "vocab.txt").read_text().splitlines()
    tokenizer = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert [tokenizer["model"]["vocab"][word] for word in words] == [*range(len(words))]
    await served(tmp_path / "out", outcome)


@pytest.mark.parametrize("by", ["the base", pytest.param("a teacher", marks=pytest.mark.long)])
def test_a_cross_encoder_learns_from_titles(base: Path, tmp_path: Path, by: str) -> None:
    made, practice = material(40), material(60, seed=1)
    practice = replace(practice, judgments={})
    if by == "a teacher":
        made = replace(made, teacher=teacher_of(made))
        practice = replace(practice, teacher=teacher_of(material(60, seed=1)))
    rows: dict[str, int] = {}

    def told(what: str, done: int, total: int) -> None:
        rows[what] = total

    given = {"base": base, "recipe": "cross-encoder"}
    run(plan(tmp_path / "a", **given), made, told, lambda line: None)
    alone = rows["distilling"]
    run(plan(tmp_path / "b", **given), replace(made, practice=practice), told, lambda line: None)
    assert rows["distilling"] != alone


def test_a_stopped_training_goes_on_and_ends_alike(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = material(40)
    steps: list[int] = []

    def stops(what: str, done: int, total: int) -> None:
        steps.append(done)
        if what.startswith("training the bi-encoder") and done == total - 1:
            raise KeyboardInterrupt

    given = {"base": base, "recipe": "bi-encoder", "batch": 16}
    with pytest.raises(KeyboardInterrupt):
        run(plan(tmp_path / "a", **given), made, stops, lambda line: None)
    went_on: list[int] = []
    resumed = run(
        plan(tmp_path / "a", **given), made, lambda what, done, total: went_on.append(done), lambda line: None
    )
    assert went_on[0] > 1, "it has not begun anew"
    whole = trained(tmp_path / "b", made, **given)
    assert resumed.assessment == whole.assessment


def test_a_checkpoint_that_a_kill_has_cut_is_left_out(base: Path, tmp_path: Path) -> None:
    made, given = material(40), {"base": base, "recipe": "bi-encoder", "batch": 16}
    whole = trained(tmp_path, made, **given)
    (folder,) = tmp_path.glob("checkpoints-*")
    (folder / "finished.pt").unlink()
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    (last / "trainer_state.json").write_text('{"epoch": 1')
    assert trained(tmp_path, made, **given).assessment == whole.assessment


def test_a_training_that_has_ended_is_not_repeated(base: Path, tmp_path: Path) -> None:
    made, told = material(40), []
    given = {"base": base, "recipe": "cross-encoder"}
    whole = trained(tmp_path, made, **given)
    again = run(plan(tmp_path, **given), made, lambda what, done, total: told.append(what), lambda line: None)
    assert not {"distilling", "tuning"} & {*told}
    assert again.assessment == whole.assessment


def test_a_disk_that_is_full_is_told_in_a_line(base: Path, tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(RelevanceError, match="cannot be written") as told:
            trained(tmp_path, material(40), base=base, recipe="bi-encoder")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("tokenizer.json", None, "has no tokenizer"),
        ("modules.json", '[{"type": "own.Module", "path": ""}]', "brings code of its own"),
        ("model.safetensors", "damaged", "cannot be loaded"),
    ],
)
def test_a_base_that_cannot_be_used(
    base: Path, tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    damaged = tmp_path / "base"
    shutil.copytree(base, damaged)
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_text(content)
    with pytest.raises(RelevanceError, match=words):
        trained(tmp_path, material(40), base=damaged, recipe="head")


def test_a_head_of_many_queries_is_learned_in_blocks(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = material(24)
    at_once = _weight(trained(tmp_path, made, base=base, recipe="head"))
    monkeypatch.setattr(heads, "_MOST_CELLS", 2000)
    in_blocks = _weight(trained(tmp_path, made, base=base, recipe="head"))
    assert torch.allclose(at_once, in_blocks, atol=1e-5)
