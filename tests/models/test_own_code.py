"""Python code that a checkpoint brings runs only where the model's settings say that it may."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from rerank_proxy.engine import ModelFailedError
from rerank_proxy.settings import ModelSettings
from tests.models.samples import texts
from tests.models.test_generating import bge_rows
from tests.support import layerwise_model, tiny_generating
from tests.support.engines import running
from tests.support.tiny_generating import MAX_LENGTH

TEMPLATE = "bge-reranker-v2-minicpm-layerwise"
DOCUMENTS = texts(12)


@pytest.fixture(scope="module")
def layerwise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer-wise reranker whose code is beside its weights, as on the hub."""
    directory = tiny_generating.build("gemma", "CausalLM", tmp_path_factory.mktemp("layerwise") / TEMPLATE)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    tokenizer.save_pretrained(directory.parent / "tokenizer")
    torch.manual_seed(5)
    config = layerwise_model.LayerwiseConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    model = layerwise_model.LayerWiseMiniCPMForCausalLM(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    model.save_pretrained(directory)
    shutil.copy(str(layerwise_model.__file__), directory / "modeling_layerwise.py")
    path = directory / "config.json"
    code = {
        "AutoConfig": "modeling_layerwise.LayerwiseConfig",
        "AutoModelForCausalLM": "modeling_layerwise.LayerWiseMiniCPMForCausalLM",
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": code}))
    return directory


def expected(directory: Path, layer: int) -> "np.ndarray[Any, Any]":
    model: Any = layerwise_model.LayerWiseMiniCPMForCausalLM.from_pretrained(directory)
    model.eval()
    with torch.inference_mode():
        rows = bge_rows(directory.parent / "tokenizer", "rivers", DOCUMENTS, None)
        scores = [model(torch.tensor([row]), cutoff_layers=[layer]).logits[0][0, -1].item() for row in rows]
    return np.array(scores)


@pytest.mark.parametrize("cutoff", [None, 2, 3])
async def test_layers_of_a_reranker_that_is_trusted(layerwise: Path, cutoff: int | None) -> None:
    model = {
        "source": layerwise,
        "trust_remote_code": True,
        "cutoff_layer": cutoff,
        "max_length": MAX_LENGTH,
        "truncation": "second",
    }
    async with running({"m": model}) as engine:
        given = await engine.scores("m", "rivers", DOCUMENTS)
    wanted = expected(layerwise, cutoff or 4)
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(given.values, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, r"needs Python code of its own .* set the model's \[trust_remote_code\] if you trust it"),
        ({"trust_remote_code": True, "cutoff_layer": 1}, "can be cut off at the layers 2 to 4"),
        ({"trust_remote_code": True, "cutoff_layer": 5}, "can be cut off at the layers 2 to 4"),
    ],
)
async def test_what_is_refused_of_it(layerwise: Path, settings: dict[str, Any], reason: str) -> None:
    async with running({"m": {"source": layerwise, **settings}}) as engine:
        with pytest.raises(ModelFailedError, match=reason) as failed:
            await engine.scores("m", "rivers", ["a text"])
    assert "\n" not in str(failed.value)


async def test_code_from_elsewhere_is_never_run(layerwise: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(layerwise, tmp_path / TEMPLATE))
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["auto_map"]["AutoConfig"] = "others/model--modeling_layerwise.LayerwiseConfig"
    path.write_text(json.dumps(config))
    async with running({"m": {"source": directory, "trust_remote_code": True}}) as engine:
        with pytest.raises(ModelFailedError, match="needs Python code from elsewhere"):
            await engine.scores("m", "rivers", ["a text"])


def test_trust_is_never_the_default() -> None:
    assert not ModelSettings(source="x").trust_remote_code
