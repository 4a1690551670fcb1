"""An ordinary BERT is loaded without transformers, with the same outcome; every other checkpoint with it."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rerank_proxy.engine.loading.building import plain_bert
from rerank_proxy.engine.loading.reading import profile
from rerank_proxy.engine.loading.tokenizers.plain_tokenizer import PlainTokenizerOfBert
from tests.models.conftest import TinyModel
from tests.support.examples import examples
from tests.support.tiny_models import CORPUS

TEXTS = [*CORPUS, "", "Ünïcödé — naïve café, 東京 42 [MASK] [PAD] x", "a\x00b\t\u200b " * 9, "word" * 60]


def of_transformers(directory: Path) -> tuple[Any, Any]:
    family: Any = transformers.AutoModelForSequenceClassification
    model = family.from_pretrained(directory, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(directory)


def plain(directory: Path) -> tuple[Any, PlainTokenizerOfBert]:
    loaded = plain_bert.load(profile.read(directory))
    assert loaded is not None
    model, tokenizer = loaded
    assert isinstance(tokenizer.transformers, PlainTokenizerOfBert)
    return model, tokenizer.transformers


@pytest.fixture
def copy(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A tiny BERT that a test may change."""
    return copytree(tiny_model("bert"), tmp_path / "model")


def test_the_same_logits_on_padded_rows(tiny_model: TinyModel) -> None:
    model, tokenizer = of_transformers(tiny_model("bert"))
    own, _ = plain(tiny_model("bert"))
    pairs = tokenizer(["rivers"] * 8, TEXTS[:8], padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**pairs).logits
        np.testing.assert_allclose(own(**pairs).logits, expected, rtol=0, atol=1e-6)
        del pairs["token_type_ids"]
        np.testing.assert_allclose(own(**pairs).logits, model(**pairs).logits, rtol=0, atol=1e-6)


def test_the_same_hidden_states_of_a_published_encoder(minilm: Path) -> None:
    own, tokenizer = plain(minilm)
    model = transformers.AutoModel.from_pretrained(minilm, dtype=torch.float32).eval()
    inputs = {name: torch.tensor(rows) for name, rows in tokenizer([CORPUS[0]]).items()}
    with torch.inference_mode():
        expected = model(**inputs).last_hidden_state
        np.testing.assert_allclose(own(**inputs).last_hidden_state, expected, rtol=0, atol=1e-5)


def test_the_tokenizer_is_that_of_transformers(tiny_model: TinyModel, minilm: Path) -> None:
    for directory in (tiny_model("bert"), minilm):
        _, own = plain(directory)
        theirs: Any = transformers.AutoTokenizer.from_pretrained(directory)
        theirs.backend_tokenizer.no_truncation()
        theirs.backend_tokenizer.no_padding()
        assert own.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
        assert len(own) == len(theirs)
        for name in ("pad_token_id", "model_max_length", "is_fast"):
            assert getattr(own, name) == getattr(theirs, name)
        assert [*own.model_input_names] == [*theirs.model_input_names]


@given(texts=st.lists(st.text(), min_size=1, max_size=3), pairs=st.booleans())
@examples(30)
def test_the_same_ids(tiny_model: TinyModel, texts: list[str], pairs: bool) -> None:
    _, own = plain(tiny_model("bert"))
    theirs: Any = transformers.AutoTokenizer.from_pretrained(tiny_model("bert"))
    arguments = [texts, texts[::-1]] if pairs else [texts]
    expected = theirs(*arguments)
    for name, rows in own(*arguments).items():
        assert rows == expected[name]


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
    "a tokenizer that does not say what the options say": options(do_lower_case=False),
    "other accents": options(strip_accents=True),
    "another class of tokenizer": options(tokenizer_class="ElectraTokenizer"),
    "another token for padding": options(pad_token="[MASK]"),
    "a further token": options(additional_special_tokens=["<a>"]),
    "other inputs": options(model_input_names=["input_ids"]),
    "a limit that is no number": options(model_max_length="many"),
    "tokens of its own": lambda directory: (directory / "added_tokens.json").write_text("{}"),
    "special tokens of another file": lambda directory: (directory / "special_tokens_map.json").write_text(
        '{"sep_token": "[MASK]"}'
    ),
    "another normalizer": described("normalizer", clean_text=False),
    "another word limit": described("model", max_input_chars_per_word=7),
    "another template": described("post_processor", single=[]),
    "an added word": added_token,
    "a lacking weight": weights(lambda tensors: tensors.__delitem__("classifier.bias")),
    "a further weight": weights(lambda tensors: tensors.update(odd=torch.zeros(1))),
    "whole numbers": weights(
        lambda tensors: tensors.update({"classifier.bias": torch.zeros(1, dtype=torch.int64)})
    ),
    "another size": weights(lambda tensors: tensors.update({"classifier.bias": torch.zeros(2)})),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_anything_unusual_is_left_to_transformers(copy: Path, what: str) -> None:
    UNUSUAL[what](copy)
    assert plain_bert.load(profile.read(copy)) is None


def test_what_only_pretraining_uses_is_passed_over(copy: Path) -> None:
    weights(lambda tensors: tensors.update({"cls.predictions.bias": torch.zeros(3)}))(copy)
    assert plain_bert.load(profile.read(copy)) is not None
