"""Reading what a model directory says about itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import profile

CLASSIFIER = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
ENCODER = {"architectures": ["BertModel"], "model_type": "bert"}


def write(directory: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return directory


def modules(*names: str, prefix: str = "sentence_transformers.models") -> list[dict[str, Any]]:
    paths = ["" if name == "Transformer" else f"{at}_{name}" for at, name in enumerate(names)]
    return [
        {"idx": at, "path": path, "type": f"{prefix}.{name}"}
        for at, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def test_a_classifier_is_a_cross_encoder(tmp_path: Path) -> None:
    read = profile.read(write(tmp_path, {"config.json": CLASSIFIER}))
    assert (read.kind, read.directory, read.head) == ("cross-encoder", tmp_path, ())
    assert read.architecture == "BertForSequenceClassification"


def test_a_cross_encoder_that_sentence_transformers_saved_lists_one_module(tmp_path: Path) -> None:
    files = {
        "config.json": CLASSIFIER,
        "modules.json": modules("Transformer", prefix="sentence_transformers.base.modules.transformer"),
        "config_sentence_transformers.json": {"model_type": "CrossEncoder"},
    }
    assert profile.read(write(tmp_path, files)).kind == "cross-encoder"


def test_a_bi_encoder_with_all_its_modules(tmp_path: Path) -> None:
    files = {
        "config.json": ENCODER,
        "modules.json": modules("Transformer", "Pooling", "Dense", "Normalize"),
        "1_Pooling/config.json": {"pooling_mode_cls_token": True},
        "sentence_bert_config.json": {"max_seq_length": 77, "do_lower_case": True},
    }
    read = profile.read(write(tmp_path, files))
    assert read.kind == "bi-encoder"
    assert [module.name for module in read.head] == ["Pooling", "Dense", "Normalize"]
    assert read.head[0].config == {"pooling_mode_cls_token": True}
    assert (read.max_length, read.do_lower_case) == (77, True)


def test_the_transformer_may_have_a_directory_of_its_own(tmp_path: Path) -> None:
    listed = modules("Transformer", "Pooling")
    listed[0]["path"] = "0_BERT"
    files = {"modules.json": listed, "0_BERT/config.json": ENCODER}
    assert profile.read(write(tmp_path, files)).directory == tmp_path / "0_BERT"


def test_an_encoder_with_a_scoring_head_of_modules_is_a_cross_encoder(tmp_path: Path) -> None:
    files = {
        "config.json": ENCODER,
        "modules.json": modules("Transformer", "Pooling", "Dense"),
        "config_sentence_transformers.json": {"model_type": "CrossEncoder"},
    }
    read = profile.read(write(tmp_path, files))
    assert (read.kind, len(read.head)) == ("cross-encoder", 2)


@pytest.mark.parametrize(
    ("library", "prompts"),
    [
        ({}, ("", "")),
        ({"prompts": {"query": "q: ", "document": "d: "}}, ("q: ", "d: ")),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, ("q: ", "p: ")),
        ({"prompts": {"x": "x: "}, "default_prompt_name": "x"}, ("x: ", "x: ")),
        ({"prompts": {"x": "x: ", "query": "q: "}, "default_prompt_name": "x"}, ("q: ", "x: ")),
        ({"prompts": {"x": "x: "}, "default_prompt_name": None}, ("", "")),
    ],
)
def test_prompts_of_a_bi_encoder(tmp_path: Path, library: dict[str, Any], prompts: tuple[str, str]) -> None:
    files = {
        "config.json": ENCODER,
        "modules.json": modules("Transformer", "Pooling"),
        "config_sentence_transformers.json": library,
    }
    read = profile.read(write(tmp_path, files))
    assert (read.query_prompt, read.text_prompt) == prompts


def test_the_default_prompt_of_a_cross_encoder_is_for_the_query(tmp_path: Path) -> None:
    library = {"model_type": "CrossEncoder", "prompts": {"x": "x: "}, "default_prompt_name": "x"}
    files = {"config.json": CLASSIFIER, "config_sentence_transformers.json": library}
    read = profile.read(write(tmp_path, files))
    assert (read.query_prompt, read.text_prompt) == ("x: ", "")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "has no config.json"),
        ({"config.json": ENCODER}, "BertModel without a scoring head"),
        ({"config.json": {}}, "names no architecture"),
        ({"config.json": {"architectures": ["Qwen3ForCausalLM"]}}, "is a generating model"),
        ({"config.json": ENCODER, "modules.json": modules("Transformer", "Normalize")}, "has no Pooling"),
        ({"config.json": ENCODER, "modules.json": modules("Transformer", "Router")}, r"names \[Router\]"),
        ({"config.json": ENCODER, "modules.json": modules("StaticEmbedding")}, r"names \[StaticEmbedding\]"),
        ({"config.json": ENCODER, "modules.json": [{"type": 7}]}, "cannot be read"),
        ({"config.json": ["not", "a", "config"]}, "cannot be read"),
        (
            {
                "config.json": ENCODER,
                "modules.json": modules("Transformer", "Pooling"),
                "config_sentence_transformers.json": {"model_type": "SparseEncoder"},
            },
            "is a SparseEncoder model",
        ),
    ],
)
def test_what_cannot_rerank_is_refused(tmp_path: Path, files: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason) as refused:
        profile.read(write(tmp_path, files))
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{oops")
    with pytest.raises(ModelLoadError, match=r"config\.json\] cannot be read"):
        profile.read(tmp_path)
