"""Tokenizers are those of transformers, down to each of their parts, for everything that is accepted."""

import json
import struct
from base64 import b64encode
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.loading.tokenizers.described import UnusualTokenizerError
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import JsonTokenizer, read_tokenizer
from tests.models.conftest import TinyModel
from tests.support.examples import examples

KINDS = ("bert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta", "deberta-v2", "modernbert")
CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "modernbert": "PreTrainedTokenizerFast",
}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
SPELT = ("[MASK]", "<mask>", "[PAD]", "<pad>", "[CLS]", "<s>", "</s>", "[UNK]", "<unk>")
PIECES = (
    *SPELT,
    " ",
    "  ",
    "\n",
    "The",
    "the",
    "river",
    "É",
    "é",
    "東京",
    "\u200b",
    "\x00",
    ",",
    "42",
    "word" * 60,
)

texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=8).map("".join)
words = st.fixed_dictionaries(
    {},
    optional={
        "do_lower_case": st.booleans(),
        "strip_accents": st.sampled_from([True, False, None]),
        "tokenize_chinese_chars": st.booleans(),
        "add_prefix_space": st.booleans(),
        "trim_offsets": st.booleans(),
        "split_by_punct": st.booleans(),
        "split_special_tokens": st.booleans(),
        "clean_up_tokenization_spaces": st.booleans(),
        "model_max_length": st.sampled_from([512, 1e30, None]),
        "max_len": st.just(77),
        "model_input_names": st.sampled_from([["input_ids"], ["input_ids", "token_type_ids"]]),
        "unk_id": st.integers(0, 3),
        "sp_model_kwargs": st.just({}),
        "vocab_type": st.just("spm"),
        "extra_special_tokens": st.sampled_from([{}, []]),
        "additional_special_tokens": st.just([]),
        "add_bos_token": st.booleans(),
        "padding_side": st.sampled_from(["left", "right"]),
        "mask_token": st.sampled_from(
            ["the", "of", {"__type": "AddedToken", "content": "the", "rstrip": True}]
        ),
    },
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "normalizer": st.sampled_from([None, {"type": "Lowercase"}, {"type": "Sequence", "normalizers": []}]),
        "truncation": st.just(
            {"direction": "Right", "max_length": 7, "strategy": "LongestFirst", "stride": 0}
        ),
    },
)


def said(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def parts_of(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer says of itself, but how it decodes."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    described: dict[str, Any] = json.loads(tokenizer.to_str())
    del described["decoder"]
    return described


def agree(directory: Path, samples: list[str]) -> None:
    own, theirs = read_tokenizer(directory), transformers.AutoTokenizer.from_pretrained(directory)
    for name in ("pad_token_id", "model_max_length", "model_input_names", "is_fast"):
        assert getattr(own, name) == getattr(theirs, name)
    assert len(own) == len(theirs)
    assert parts_of(own.backend_tokenizer) == parts_of(theirs.backend_tokenizer)
    for arguments in ([samples], [samples, samples[::-1]]):
        expected = theirs(*arguments)
        for name, rows in own(*arguments).items():
            assert rows == expected[name]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), options=words, described=parts, samples=st.lists(texts, min_size=1, max_size=4))
@examples(2)
def test_what_is_accepted_is_that_of_transformers(
    tiny_model: TinyModel,
    changed: Path,
    kind: str,
    data: st.DataObject,
    options: dict[str, Any],
    described: dict[str, Any],
    samples: list[str],
) -> None:
    source = tiny_model(kind)
    older = data.draw(st.booleans(), "older")
    names = [
        None,
        CLASSES[kind],
        f"{CLASSES[kind]}Fast".replace("FastFast", "Fast"),
        "PreTrainedTokenizerFast",
    ]
    config = {**said(source / "tokenizer_config.json"), **options}
    config["tokenizer_class"] = data.draw(st.sampled_from(names), "class")
    tokenizer = {**said(source / "tokenizer.json"), **described}
    tokens = tokenizer["added_tokens"] = [
        {**token, **dict(zip(FLAGS, data.draw(st.tuples(*[st.booleans()] * 5)), strict=True))}
        for token in tokenizer["added_tokens"]
    ]
    if not older:
        config["added_tokens_decoder"] = {token["id"]: {**token} for token in tokens}
        for token in config["added_tokens_decoder"].values():
            del token["id"]
    else:
        config.pop("added_tokens_decoder", None)
    for name, content in (("tokenizer_config.json", config), ("tokenizer.json", tokenizer)):
        (changed / name).write_text(json.dumps(content))
    copyfile(source / "config.json", changed / "config.json")
    special = {"mask_token": tokens[-1]["content"], "unk_token": {"content": "the", "lstrip": True}}
    (changed / "special_tokens_map.json").write_text(json.dumps(special if kind != "xlm-roberta" else {}))
    agree(changed, samples)


def test_that_of_a_published_encoder(minilm: Path) -> None:
    agree(minilm, ["The quick, naïve 東京 [MASK]"])


def test_a_table_of_characters_of_sentencepiece(tiny_model: TinyModel, changed: Path) -> None:
    empty_trie = struct.pack("<I", 1024) + bytes(1024)
    for path in tiny_model("xlm-roberta").glob("*.json"):
        copyfile(path, changed / path.name)
    tokenizer = said(changed / "tokenizer.json")
    table = {"type": "Precompiled", "precompiled_charsmap": b64encode(empty_trie).decode()}
    for normalizer in (table, {"type": "Sequence", "normalizers": [table, {"type": "Lowercase"}]}):
        tokenizer["normalizer"] = normalizer
        (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
        agree(changed, ["Rivers carry", "\uff21\u3000x"])


def options(**changes: Any) -> Any:
    return lambda directory: rewrite(directory / "tokenizer_config.json", changes)


def described(**changes: Any) -> Any:
    return lambda directory: rewrite(directory / "tokenizer.json", changes)


def rewrite(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps({**said(path), **changes}))


def write(name: str, content: Any) -> Any:
    return lambda directory: (directory / name).write_text(json.dumps(content))


UNUSUAL = {
    "an option that is not known": options(odd=1),
    "a token with another name": options(odd_token="<odd>"),
    "a further token": options(additional_special_tokens=["<a>"]),
    "named further tokens": options(extra_special_tokens={"odd_token": "<odd>"}),
    "null for lower case": options(do_lower_case=None),
    "no padding token": options(pad_token=None),
    "another class": options(tokenizer_class="FunnelTokenizer"),
    "a limit that is no number": options(model_max_length="many"),
    "cut on the left": options(truncation_side="left"),
    "a token of two ids": options(added_tokens_decoder={"0": {"content": "the"}}),
    "a token of no id": options(added_tokens_decoder={"x": {"content": "the"}}),
    "a token of odd flags": options(added_tokens_decoder={"0": {"content": "[PAD]", "odd": True}}),
    "no vocabulary": described(model={"type": "WordPiece"}),
    "another algorithm": described(model={"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}),
    "another type of model": lambda directory: rewrite(directory / "config.json", {"model_type": "funnel"}),
    "no tokenizer.json": lambda directory: (directory / "tokenizer.json").unlink(),
    "a damaged tokenizer.json": lambda directory: (directory / "tokenizer.json").write_text('{"model": '),
}
OLDER = {
    "another token in added_tokens.json": write("added_tokens.json", {"<a>": 7}),
    "another name in special_tokens_map.json": write("special_tokens_map.json", {"odd": "<a>"}),
}


@pytest.mark.parametrize("what", [*UNUSUAL, *OLDER])
def test_what_is_not_understood_is_refused_in_a_line(
    tiny_model: TinyModel, tmp_path: Path, what: str
) -> None:
    for path in tiny_model("bert").glob("*.json"):
        copyfile(path, tmp_path / path.name)
    if what in OLDER:
        config = said(tmp_path / "tokenizer_config.json")
        config.pop("added_tokens_decoder", None)
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert isinstance(read_tokenizer(tmp_path), JsonTokenizer)
    {**UNUSUAL, **OLDER}[what](tmp_path)
    with pytest.raises(UnusualTokenizerError, match=r"has a tokenizer .* cannot be built"):
        read_tokenizer(tmp_path)
