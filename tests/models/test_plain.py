"""Ordinary models are loaded without transformers, with the same outcome; every other checkpoint with it."""

import json
from collections.abc import Callable
from inspect import signature
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers.models.deberta_v2 import modeling_deberta_v2

from rerank_proxy.engine.backends.plain import deberta
from rerank_proxy.engine.loading.building import plain as building
from rerank_proxy.engine.loading.building.plain_families import FAMILIES, FIXED, WITHOUT_EFFECT
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.reading import profile
from rerank_proxy.engine.loading.reading.modules import HeadModule
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import JsonTokenizer
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.support.examples import examples
from tests.support.tiny_models import CORPUS, build_encoder

KINDS = sorted(FAMILIES)

TEXTS = [*CORPUS, "", "Ünïcödé — naïve café, 東京 42 [MASK] [PAD] x", "a\x00b\t\u200b " * 9, "word" * 60]


def plain(directory: Path) -> tuple[Any, JsonTokenizer]:
    loaded = building.load(profile.read(directory))
    assert loaded is not None
    model, tokenizer = loaded
    assert isinstance(tokenizer.transformers, JsonTokenizer)
    return model, tokenizer.transformers


@pytest.fixture
def copy(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A tiny BERT that a test may change."""
    return copytree(tiny_model("bert"), tmp_path / "model")


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "relu": {"hidden_act": "relu", "activation": "relu"},
    "other norms": {"layer_norm_eps": 0.05},
    "other heads": {"num_attention_heads": 2, "n_heads": 2},
}


@pytest.mark.parametrize(
    ("kind", "variant"),
    # The weights of MPNet have a size that depends on the number of heads.
    [each for each in product(KINDS, VARIANTS) if each != ("mpnet", "other heads")],
)
def test_the_same_logits_on_padded_rows(
    tiny_model: TinyModel, tmp_path: Path, kind: str, variant: str
) -> None:
    directory = copytree(tiny_model(kind), tmp_path / "model")
    said = json.loads((directory / "config.json").read_bytes())
    changed(directory / "config.json", {key: each for key, each in VARIANTS[variant].items() if key in said})
    same_logits(directory)


def same_logits(directory: Path) -> None:
    own, read = plain(directory)
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(directory)
    assert type(own).__name__ == type(model).__name__
    assert own.base_model_prefix == model.base_model_prefix
    pairs = tokenizer(["rivers"] * len(TEXTS), TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert ("token_type_ids" in pairs) == ("token_type_ids" in read.model_input_names)
    if "token_type_ids" not in signature(own.forward).parameters:
        pairs.pop("token_type_ids", None)
    with torch.inference_mode():
        expected = model(**pairs).logits
        np.testing.assert_allclose(own(**pairs).logits, expected, rtol=0, atol=1e-5)
        assert np.ptp(expected.numpy()) > 1e-2
        pairs.pop("token_type_ids", None)
        np.testing.assert_allclose(own(**pairs).logits, model(**pairs).logits, rtol=0, atol=1e-5)


MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "modernbert over the first token": ("modernbert", {"classifier_pooling": "cls"}),
    "modernbert with biases": (
        "modernbert",
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
    ),
    "modernbert with relu": ("modernbert", {"hidden_activation": "relu", "classifier_activation": "relu"}),
    "modernbert, all global": ("modernbert", {"layer_types": ["full_attention"] * 4}),
    "modernbert, all local": ("modernbert", {"layer_types": ["sliding_attention"] * 4, "norm_eps": 0.05}),
    "modernbert with other angles": (
        "modernbert",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 50.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            }
        },
    ),
    "deberta with own projections": ("deberta-v2", {"share_att_key": False}),
    "deberta, contents to positions": ("deberta-v2", {"share_att_key": False, "pos_att_type": ["c2p"]}),
    "deberta, positions to contents": ("deberta-v2", {"pos_att_type": "p2c"}),
    "deberta, positions in a line": ("deberta-v2", {"pos_att_type": "p2c|c2p", "norm_rel_ebd": "none"}),
    "deberta, contents alone": ("deberta-v2", {"pos_att_type": None}),
    "deberta without buckets": ("deberta-v2", {"position_buckets": -1, "max_relative_positions": 20}),
    "deberta with few buckets": ("deberta-v2", {"position_buckets": 5, "max_relative_positions": 11}),
    "deberta with all embeddings": ("deberta-v2", {"position_biased_input": True, "type_vocab_size": 2}),
    "deberta without relative positions": (
        "deberta-v2",
        {"relative_attention": False, "position_biased_input": True, "norm_rel_ebd": "none"},
    ),
    "deberta with another pooler": ("deberta-v2", {"pooler_hidden_act": "relu"}),
}


def made(kind: str, changes: dict[str, Any], source: Path, directory: Path) -> Path:
    """Save the model of a directory with other settings, none of its weights being those of a start."""
    copytree(source, directory)
    config: Any = transformers.AutoConfig.from_pretrained(source, **changes)
    torch.manual_seed(5)
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("what", MADE)
def test_the_same_logits_of_what_a_family_allows(tiny_model: TinyModel, tmp_path: Path, what: str) -> None:
    kind, changes = MADE[what]
    directory = made(kind, changes, tiny_model(kind), tmp_path / "model")
    same_logits(directory)
    settings = ModelSettings(source=str(directory))
    loaded = load("m", settings, EngineSettings(device="cpu", precision="fp32", offline=True))
    assert loaded.info["padded"] == "false"


def test_modernbert_as_older_versions_of_transformers_write_it(tiny_model: TinyModel, tmp_path: Path) -> None:
    directory = copytree(tiny_model("modernbert"), tmp_path / "model")
    path = directory / "config.json"
    said = json.loads(path.read_bytes())
    for key in ("layer_types", "rope_parameters"):
        del said[key]
    said |= {"global_attn_every_n_layers": 2, "global_rope_theta": 50.0, "local_rope_theta": 20.0}
    said |= {"layer_norm_eps": 1e-05, "position_embedding_type": "absolute", "reference_compile": True}
    path.write_text(json.dumps(said))
    same_logits(directory)


@given(buckets=st.integers(2, 512), furthest=st.integers(4, 2048))
@examples(1)
def test_distances_have_the_buckets_of_transformers(buckets: int, furthest: int) -> None:
    assume(buckets // 2 < furthest - 1)
    distances = torch.arange(-2 * furthest, 2 * furthest)
    expected = modeling_deberta_v2.make_log_bucket_position(distances, buckets, furthest).long()
    assert torch.equal(deberta.bucket(distances, buckets, furthest), expected)


@pytest.mark.parametrize("body", ["alone", "with what only pre-training uses"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_hidden_states_of_encoders(tmp_path: Path, kind: str, body: str) -> None:
    directory = build_encoder(kind, tmp_path)
    said = json.loads((directory / "config.json").read_bytes())
    config: Any = transformers.AutoConfig.from_pretrained(directory)
    (name,) = said["architectures"]
    if body != "alone":
        family: Any = transformers.AutoModelForMaskedLM
        family.from_config(config).save_pretrained(directory)
        name = name.removesuffix("Model") + "ForMaskedLM"
    pooling = HeadModule("Pooling", directory, {})
    loaded = building.load(Profile("bi-encoder", directory, name, 10**9, (pooling,)))
    assert loaded is not None
    model = transformers.AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
    inputs = {"input_ids": torch.arange(5, 15).view(2, 5), "attention_mask": torch.ones(2, 5).long()}
    inputs["attention_mask"][1, 3:] = 0
    with torch.inference_mode():
        expected = model(**inputs).last_hidden_state[inputs["attention_mask"] == 1]
        actual = loaded[0](**inputs).last_hidden_state[inputs["attention_mask"] == 1]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_without_padding(tiny_model: TinyModel, kind: str) -> None:
    settings = ModelSettings(source=str(tiny_model(kind)))
    loaded = load("m", settings, EngineSettings(device="cpu", precision="fp32", offline=True))
    assert loaded.info["padded"] == "false"


def test_weights_in_several_files(copy: Path) -> None:
    whole, _ = plain(copy)
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_pretrained(copy)
    (copy / "model.safetensors").unlink()
    model.save_pretrained(copy, max_shard_size="20KB")
    assert len(list(copy.glob("*.safetensors"))) > 1
    divided, _ = plain(copy)
    for name, weight in divided.state_dict().items():
        assert torch.equal(weight, whole.state_dict()[name])


def test_the_same_hidden_states_of_a_published_encoder(minilm: Path) -> None:
    own, tokenizer = plain(minilm)
    model = transformers.AutoModel.from_pretrained(minilm, dtype=torch.float32).eval()
    inputs = {name: torch.tensor(rows) for name, rows in tokenizer([CORPUS[0]]).items()}
    with torch.inference_mode():
        expected = model(**inputs).last_hidden_state
        np.testing.assert_allclose(own(**inputs).last_hidden_state, expected, rtol=0, atol=1e-5)


def test_weights_of_half_precision_are_read_as_float32(copy: Path) -> None:
    half = {name: each.half() for name, each in load_file(copy / "model.safetensors").items()}
    save_file(half, copy / "model.safetensors", {"format": "pt"})
    model, _ = plain(copy)
    for name, weight in model.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, half[name].float())


def test_a_file_that_is_replaced_in_place_does_not_change_a_loaded_model(copy: Path) -> None:
    model, _ = plain(copy)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    content = (copy / "model.safetensors").read_bytes()
    with (copy / "model.safetensors").open("r+b") as file:
        file.write(content[:-4000] + bytes(4000))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda directory: changed(directory / "config.json", changes)


def options(**changes: Any) -> Callable[[Path], None]:
    return lambda directory: changed(directory / "tokenizer_config.json", changes)


def described(part: str, **changes: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        content = json.loads((directory / "tokenizer.json").read_bytes())
        content[part] = {**content[part], **changes}
        (directory / "tokenizer.json").write_text(json.dumps(content))

    return change


def changed(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def added_token(directory: Path) -> None:
    content = json.loads((directory / "tokenizer.json").read_bytes())
    content["added_tokens"].append({**content["added_tokens"][0], "id": 9, "content": "the"})
    (directory / "tokenizer.json").write_text(json.dumps(content))


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def rewrite(directory: Path) -> None:
        tensors = load_file(directory / "model.safetensors")
        change(tensors)
        save_file(tensors, directory / "model.safetensors", {"format": "pt"})

    return rewrite


UNUSUAL = {
    "another activation": config(hidden_act="gelu_new"),
    "relative positions": config(position_embedding_type="relative_key"),
    "a decoder": config(is_decoder=True),
    "something that is not known": config(quantization_config={}),
    "two labels": config(id2label={"0": "no", "1": "yes"}),
    "sizes that are no numbers": config(hidden_size="32"),
    "heads that do not divide": config(num_attention_heads=5),
    "more layers than the file has": config(num_hidden_layers=1000),
    "another vocabulary than the weights": config(vocab_size=10**6),
    "no tokenizer.json": lambda directory: (directory / "tokenizer.json").unlink(),
    "another token for padding": options(pad_token="[MASK]"),
    "a further token": options(additional_special_tokens=["<a>"]),
    "a limit that is no number": options(model_max_length="many"),
    "an added word": added_token,
    "a lacking weight": weights(lambda tensors: tensors.__delitem__("classifier.bias")),
    "a further weight": weights(lambda tensors: tensors.update(odd=torch.zeros(1))),
    "whole numbers": weights(
        lambda tensors: tensors.update({"classifier.bias": torch.zeros(1, dtype=torch.int64)})
    ),
    "another size": weights(lambda tensors: tensors.update({"classifier.bias": torch.zeros(2)})),
}


ROPE = {"rope_type": "default", "rope_theta": 1e4}
UNUSUAL_OF: dict[str, tuple[str, dict[str, Any]]] = {
    "stretched positions": (
        "modernbert",
        {"rope_parameters": {"full_attention": {**ROPE, "rope_type": "linear", "factor": 2.0}}},
    ),
    "positions of a part of a head": (
        "modernbert",
        {"rope_parameters": {"full_attention": {**ROPE, "partial_rotary_factor": 0.5}}},
    ),
    "positions that are the same for all layers": ("modernbert", {"rope_parameters": ROPE}),
    "angles that are no number": ("modernbert", {"rope_parameters": {"full_attention": {"rope_theta": "1"}}}),
    "local positions that are not given": ("modernbert", {"local_rope_theta": None}),
    "kinds of layers that are not known": ("modernbert", {"layer_types": ["chunked_attention"] * 4}),
    "kinds of too few layers": ("modernbert", {"layer_types": ["full_attention"]}),
    "a billion layers": ("modernbert", {"layer_types": [], "num_hidden_layers": 10**9}),
    "no window": ("modernbert", {"local_attention": 1}),
    "another pooling": ("modernbert", {"classifier_pooling": "max"}),
    "another activation of the classifier": ("modernbert", {"classifier_activation": "silu"}),
    "a convolution": ("deberta-v2", {"conv_kernel_size": 3}),
    "products of positions": ("deberta-v2", {"pos_att_type": ["p2p"]}),
    "heads of a size of their own": ("deberta-v2", {"attention_head_size": 16}),
    "embeddings of a size of their own": ("deberta-v2", {"embedding_size": 16}),
    "another norm of positions": ("deberta-v2", {"norm_rel_ebd": "rms"}),
    "one bucket": ("deberta-v2", {"position_buckets": 1}),
    "more buckets than distances": ("deberta-v2", {"position_buckets": 200}),
    "a pooler of another size": ("deberta-v2", {"pooler_hidden_size": 16}),
    "another activation of the pooler": ("deberta-v2", {"pooler_hidden_act": "tanh"}),
}


@pytest.mark.parametrize("what", UNUSUAL_OF)
def test_what_a_family_does_not_know_is_left_to_transformers(tiny_model: TinyModel, what: str) -> None:
    kind, changes = UNUSUAL_OF[what]
    directory = tiny_model(kind)
    said = json.loads((directory / "config.json").read_bytes())
    assert building._config(profile.read(directory), FAMILIES[kind], {**said, **changes}) is None


@pytest.mark.parametrize("kind", KINDS)
@given(key=st.from_regex(r"[a-z_]{3,12}", fullmatch=True), value=st.sampled_from([True, 1, "x", None, []]))
@examples(0.5)
def test_a_config_that_says_something_unknown_is_left_to_transformers(
    tiny_model: TinyModel, kind: str, key: str, value: object
) -> None:
    directory = tiny_model(kind)
    said = json.loads((directory / "config.json").read_bytes())
    family = FAMILIES[kind]
    read = profile.read(directory)
    assert building._config(read, family, said) is not None
    known = {*family.config.__struct_fields__, *FIXED, *family.fixed, *WITHOUT_EFFECT, *family.without_effect}
    if key not in known:
        assert building._config(read, family, {**said, key: value}) is None
    for fixed in {**FIXED, **family.fixed}:
        assert building._config(read, family, {**said, fixed: "x"}) is None


@pytest.mark.parametrize("what", UNUSUAL)
def test_anything_unusual_is_left_to_transformers(copy: Path, what: str) -> None:
    UNUSUAL[what](copy)
    assert building.load(profile.read(copy)) is None


def test_what_only_pretraining_uses_is_passed_over(copy: Path) -> None:
    weights(lambda tensors: tensors.update({"cls.predictions.bias": torch.zeros(3)}))(copy)
    assert building.load(profile.read(copy)) is not None
