"""Elasticsearch's model packages score as the models that they are made of."""

import hashlib
import json
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rerank_proxy.engine import InputTooLargeError
from rerank_proxy.engine.backends.torchscript import TorchScriptBackend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.packages import package as packages
from rerank_proxy.engine.loading.packages.tokenization import Tokenization
from rerank_proxy.engine.loading.packages.tokenizer import build_tokenizer
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support import packages as made
from tests.support.engines import running
from tests.support.tiny_models import MAX_LENGTH

TOLERANCE = 1e-4
SPELT_OUT = "[SEP] </s> <pad> [MASK]"

MadePackage = Callable[[str], Path]


@pytest.fixture(scope="session")
def made_package(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> MadePackage:
    """Return the directory of a package [tiny] of a kind of `made.KINDS`. Copy it to change it."""
    there: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in there:
            there[kind] = tmp_path_factory.mktemp(f"package-{kind}")
            made.build(kind, tiny_model(kind), there[kind])
        return there[kind]

    return make


@pytest.fixture
def copy(made_package: MadePackage, tmp_path: Path) -> Path:
    """Copy a package, so that the test may damage it."""
    return Path(shutil.copytree(made_package("bert"), tmp_path / "package"))


def loaded(directory: Path, **settings: Any) -> LoadedModel:
    return load("m", ModelSettings(source=str(directory), **settings), EngineSettings())


def documents() -> list[str]:
    return [text for text in texts(40) if text != SPELT_OUT]


def logits(directory: Path, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Run the model of transformers on ids and token types, one row at a time."""
    model = made.load_model(directory)
    takes_types = getattr(model.config, "type_vocab_size", 0) > 1
    scores = []
    with torch.inference_mode():
        for ids, types in rows:
            more = {"token_type_ids": torch.tensor([types])} if takes_types else {}
            scores.append(float(model(input_ids=torch.tensor([ids]), **more).logits))
    return scores


def balanced_pair(tokenizer: Any, query: str, text: str, limit: int) -> tuple[list[int], list[int]]:
    """Return the tokenizer's own pair, of the tokens that Elasticsearch's rule keeps."""
    first, second = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (query, text))
    room = limit - tokenizer.num_special_tokens_to_add(pair=True)
    first = first[: room // 2 if len(second) > room // 2 else room - len(second)]
    second = second[: room - len(first)]
    (whole,) = tokenizer([""], [""])["input_ids"]
    cls, sep = whole[0], whole[-1]
    between = [sep] * (len(whole) - 2)
    ids = [cls, *first, *between, *second, sep]
    return ids, [0] * (1 + len(first) + len(between)) + [1] * (len(second) + 1)


@pytest.mark.parametrize("kind", made.KINDS)
async def test_scores_are_those_of_the_model(
    tiny_model: TinyModel, made_package: MadePackage, kind: str
) -> None:
    tokenizer = made.load_tokenizer(tiny_model(kind))
    async with running({"m": made_package(kind)}) as engine:
        for query in (*QUERIES, LONG_QUERY):
            reranked = await engine.scores("m", query, documents())
            pairs = [balanced_pair(tokenizer, query, text, MAX_LENGTH) for text in documents()]
            expected = logits(tiny_model(kind), pairs)
            assert np.ptp(expected) > 0.1, "scores that hardly differ prove nothing"
            np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)
        assert "TorchScript" in engine.status()["m"].detail


@pytest.mark.parametrize("kind", made.KINDS)
def test_pairs_are_those_of_transformers(tiny_model: TinyModel, made_package: MadePackage, kind: str) -> None:
    tokenizer = made.load_tokenizer(tiny_model(kind))
    short = [text for text in documents() if len(text) < 40]
    rows = gathered(loaded(made_package(kind)).scorer.encode("who carries water?", short, range(len(short))))
    whole = tokenizer(["who carries water?"] * len(short), short)
    assert [row.ids.tolist() for row in rows] == whole["input_ids"]
    if "token_type_ids" in whole:
        assert [row.type_ids.tolist() for row in rows] == whole["token_type_ids"]


def test_all_rows_run_together(made_package: MadePackage) -> None:
    backend = loaded(made_package("deberta-v2")).backend
    assert isinstance(backend, TorchScriptBackend)
    assert backend.way == "together"


# Truncation


@pytest.mark.parametrize("truncate", ["first", "second", "none", "balanced"])
async def test_a_package_says_how_its_pairs_are_cut(
    tiny_model: TinyModel, made_package: MadePackage, tmp_path: Path, truncate: str
) -> None:
    shutil.copy(made_package("bert") / "tiny.pt", tmp_path)
    made.describe("bert", tiny_model("bert"), tmp_path, truncate=truncate)
    model = loaded(tmp_path)
    long_query, long_text = "rivers " * 10, "trees " * 10
    cut = {"first": 1, "second": 1, "balanced": 1, "none": 0}[truncate]
    (row,) = gathered(model.scorer.encode("rivers", ["trees"], [0]))
    assert (len(row), row.truncated) == (
        len(gathered(model.scorer.encode("rivers", ["trees"], [0]))[0]),
        False,
    )
    if truncate == "none":
        with pytest.raises(InputTooLargeError, match="Input too large"):
            gathered(model.scorer.encode(long_query, [long_text], [0]))
        return
    (row,) = gathered(model.scorer.encode(long_query, [long_text], [0]))
    assert (len(row), row.truncated) == (MAX_LENGTH, bool(cut))


async def test_what_may_not_be_cut_is_told_to_the_caller(
    tiny_model: TinyModel, made_package: MadePackage, tmp_path: Path
) -> None:
    shutil.copy(made_package("bert") / "tiny.pt", tmp_path)
    made.describe("bert", tiny_model("bert"), tmp_path, truncate="first")
    async with running({"m": tmp_path}) as engine:
        assert len((await engine.scores("m", "rivers " * 60, ["trees"])).values) == 1
        with pytest.raises(InputTooLargeError, match=r"too large for the second sequence.*\[45\]"):
            await engine.scores("m", "rivers", ["trees " * 60])


def test_the_settings_of_a_model_win(made_package: MadePackage) -> None:
    model = loaded(made_package("bert"), max_length=12, truncation="second", activation="sigmoid")
    (row,) = gathered(model.scorer.encode("a", ["trees " * 60], [0]))
    assert len(row) == 12
    prints = {loaded(made_package("bert"), **each).info["fingerprint"] for each in _VARIANTS}
    assert len(prints) == len(_VARIANTS)


_VARIANTS: list[dict[str, Any]] = [
    {},
    {"max_length": 12},
    {"truncation": "second"},
    {"activation": "sigmoid"},
]


# Tokens


def tokens(vocabulary: Vocabulary, tokenization: Tokenization, text: str) -> list[str]:
    encoding = build_tokenizer(vocabulary, tokenization).encode(text, add_special_tokens=False)
    return [vocabulary.vocabulary[number] for number in encoding.ids]


def unigram(*more: str) -> Vocabulary:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    pieces = ["▁", "▁a", "a", "b", "fi", *more]
    return Vocabulary([*special, *pieces], scores=[0.0] * len(special) + [-float(len(p)) for p in pieces])


def test_special_tokens_in_a_text_are_text_but_for_those_that_are_never_split() -> None:
    bert = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "sep", "a"])
    assert tokens(bert, Tokenization("bert", do_lower_case=True), "a [SEP] [MASK]") == [
        *("a", "[", "sep", "]", "[MASK]")
    ]
    assert tokens(unigram(), Tokenization("deberta_v2"), "a[SEP]a") == ["▁a", "[SEP]", "▁a"]


def test_case_and_accents() -> None:
    bert = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "Café"])
    assert tokens(bert, Tokenization("bert", do_lower_case=True), "CAFÉ Café") == ["cafe", "cafe"]
    assert tokens(bert, Tokenization("bert"), "CAFÉ Café") == ["[UNK]", "Café"]


def test_compatibility_characters_are_normalised() -> None:
    assert tokens(unigram(), Tokenization("deberta_v2"), "\u200ba\x01\u00a0\ufb01\t\uff41") == [
        "▁a",
        "▁",
        "fi",
        "▁a",
    ]


def test_unknown_characters_are_bytes_where_the_vocabulary_has_them() -> None:
    assert tokens(unigram(), Tokenization("deberta_v2"), "é") == ["▁", "[UNK]"]
    all_bytes = unigram(*(f"<0x{byte:02X}>" for byte in range(256)))
    assert tokens(all_bytes, Tokenization("deberta_v2"), "é") == ["▁", "<0xC3>", "<0xA9>"]


def test_prefix_spaces_of_roberta(made_package: MadePackage) -> None:
    vocabulary = packages.read(made_package("roberta"), "tiny").read_vocabulary()
    assert not tokens(vocabulary, Tokenization("roberta"), "The")[0].startswith("Ġ")
    assert tokens(vocabulary, Tokenization("roberta", add_prefix_space=True), "The")[0].startswith("Ġ")


def test_characters_are_normalised_as_sentencepiece_does() -> None:
    import sentencepiece

    from rerank_proxy.engine.loading.packages.tokenizer import _NMT_NFKC

    reference = sentencepiece.SentencePieceNormalizer(
        rule_name="nmt_nfkc",
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )
    # Assigned long ago, so that both know them; not those that combine with a neighbour.
    characters = [
        chr(code)
        for code in range(1, 0x30000)
        if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs", "Co", "Mn", "Mc")
    ]
    assert len(characters) > 90_000
    different = [
        character
        for character in characters
        if _NMT_NFKC.normalize_str(f"x{character}y") != reference.normalize(f"x{character}y")
    ]
    assert different == []


# Programs that are tied to what they were traced with


class OneRow(nn.Module):
    """Takes the number of rows for a constant, as `int(len(…))` in a trace does."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        summed = (ids * mask).float().reshape(1, -1).sum(dim=1, keepdim=True)
        return summed / 1000


class FixedLength(nn.Module):
    """Knows one length only."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0, 1, MAX_LENGTH), requires_grad=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return ((ids * mask).float() @ self.weight)[:, None] / 1000


class PaddingCounts(nn.Module):
    """Forgets its mask: what a row gets depends on its neighbours."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return ids.float().mean(dim=1, keepdim=True)


@pytest.mark.parametrize(("program", "way"), [(OneRow, "alone"), (FixedLength, "filled up")])
def test_rows_run_in_a_way_that_is_right(
    tiny_model: TinyModel, tmp_path: Path, program: type[nn.Module], way: str
) -> None:
    made.trace(program(), 2, tmp_path / "tiny.pt")
    made.describe("bert", tiny_model("bert"), tmp_path)
    model = loaded(tmp_path)
    assert isinstance(model.backend, TorchScriptBackend)
    assert model.backend.way == way
    rows = gathered(model.scorer.encode("rivers", documents(), range(len(documents()))))
    together = model.backend.score(Batch.of(rows))
    alone = np.concatenate([model.backend.score(Batch.of([row])) for row in rows])
    weights = np.linspace(0, 1, MAX_LENGTH) if program is FixedLength else np.ones(MAX_LENGTH)
    expected = [float(row.ids @ weights[: len(row)]) / 1000 for row in rows]
    np.testing.assert_allclose(together[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(alone, together, rtol=1e-6)


def test_neighbours_never_matter(tiny_model: TinyModel, tmp_path: Path) -> None:
    made.trace(PaddingCounts(), 2, tmp_path / "tiny.pt")
    made.describe("bert", tiny_model("bert"), tmp_path)
    model = loaded(tmp_path)
    rows = gathered(model.scorer.encode("rivers", ["trees", "trees and more trees"], range(2)))
    together = model.backend.score(Batch.of(rows))
    alone = np.concatenate([model.backend.score(Batch.of([row])) for row in rows])
    np.testing.assert_allclose(alone, together, rtol=1e-6)


# What is wrong with a package


def refusal(directory: Path, **settings: Any) -> str:
    with pytest.raises(ModelLoadError) as refused:
        loaded(directory, **settings)
    message = str(refused.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


def change(directory: Path, **changes: Any) -> None:
    path = directory / "tiny.metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tokenization(directory: Path, kind: str, **options: Any) -> None:
    change(directory, inference_config={"text_similarity": {"tokenization": {kind: options}}})


def cut_model(package: Path) -> None:
    path = package / "tiny.pt"
    path.write_bytes(path.read_bytes()[:-100])


def damage_model(package: Path) -> None:
    path = package / "tiny.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def no_model(package: Path) -> None:
    (package / "tiny.pt").unlink()


def no_program(package: Path) -> None:
    (package / "tiny.pt").write_bytes(b"no program")
    change(package, size=10, sha256=hashlib.sha256(b"no program").hexdigest())


def no_json(package: Path) -> None:
    (package / "tiny.metadata.json").write_text("{")


def no_vocabulary(package: Path) -> None:
    (package / "tiny.vocab.json").unlink()


def empty_vocabulary(package: Path) -> None:
    (package / "tiny.vocab.json").write_text('{"vocabulary": []}')


def vocabulary_without_separator(package: Path) -> None:
    path = package / "tiny.vocab.json"
    path.write_text(path.read_text().replace("[SEP]", "[sep]"))


def larger_vocabulary(package: Path) -> None:
    path = package / "tiny.vocab.json"
    vocabulary = json.loads(path.read_text())
    vocabulary["vocabulary"] += [f"more{number}" for number in range(100)]
    path.write_text(json.dumps(vocabulary))


def other_path(package: Path) -> None:
    change(package, vocabulary_file="../tiny.vocab.json")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut_model, "bytes, and its metadata say"),
        (damage_model, "has the SHA-256"),
        (no_model, "tiny.pt] cannot be read (No such file or directory); copy or download the model again"),
        (no_program, "cannot be loaded as TorchScript"),
        (no_json, "tiny.metadata.json] cannot be read"),
        (no_vocabulary, "tiny.vocab.json] cannot be read"),
        (empty_vocabulary, "the vocabulary is empty"),
        (vocabulary_without_separator, "the vocabulary is missing required [[SEP]] token"),
        (larger_vocabulary, "its program fails for a row of 48 tokens"),
        (other_path, "[../tiny.vocab.json] is not the name of a file beside it"),
        (lambda package: change(package, model_type="lang_ident"), "it is a model of type [lang_ident]"),
        (lambda package: change(package, inference_config={"ner": {}}), "it is a model for [ner]"),
        (
            lambda package: change_tokenization(package, "bert_ja"),
            "[bert_ja] is not supported",
        ),
        (lambda package: change_tokenization(package, "bert", span=64, truncate="none"), "[span: 64]"),
        (lambda package: change_tokenization(package, "bert", truncate="last"), "Invalid enum value 'last'"),
        (lambda package: change_tokenization(package, "bert", with_special_tokens=False), "no pair of texts"),
        (lambda package: change_tokenization(package, "roberta"), "[<unk>] token"),
        (lambda package: change_tokenization(package, "deberta_v2"), "and 0 scores"),
        (lambda package: change_tokenization(package, "bert", max_sequence_length=4), "leaves no room"),
        (
            lambda package: change_tokenization(package, "bert", max_sequence_length=512),
            "a row of 512 tokens",
        ),
    ],
)
def test_spoilt_packages(copy: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(copy)
    assert reason in refusal(copy)


def test_a_setting_of_embeddings(copy: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"remove its \[truncate_dim\]"):
        loaded(copy, truncate_dim=8)


def test_more_than_one_value(tiny_model: TinyModel, tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return (ids * mask).float().sum(dim=1, keepdim=True).expand(-1, 2)

    made.trace(Two(), 2, tmp_path / "tiny.pt")
    made.describe("bert", tiny_model("bert"), tmp_path)
    assert "expected exactly [1] value in text_similarity result; got [2]" in refusal(tmp_path)


def test_no_value_for_each_row(tiny_model: TinyModel, tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return (ids * mask).float()[:, :, None]

    made.trace(Tokens(), 2, tmp_path / "tiny.pt")
    made.describe("bert", tiny_model("bert"), tmp_path)
    assert "a reranker gives a value for each" in refusal(tmp_path)


# Which package


def test_a_directory_of_several_packages(copy: Path, tiny_model: TinyModel) -> None:
    shutil.copy(copy / "tiny.pt", copy / "m.pt")
    made.describe("bert", tiny_model("bert"), copy, "m", max_sequence_length=20)
    assert loaded(copy).info["max_length"] == "20", "the one of the model's name"
    assert loaded(copy, package="tiny").info["max_length"] == "48"
    shutil.move(copy / "m.metadata.json", copy / "n.metadata.json")
    assert "has no package [m]; it has: n, tiny" in refusal(copy)
    assert "has no package [x]; it has: n, tiny" in refusal(copy, package="x")


def test_a_package_beside_a_model_of_transformers(copy: Path, tiny_model: TinyModel) -> None:
    shutil.copytree(tiny_model("electra"), copy, dirs_exist_ok=True)
    assert loaded(copy).info["architecture"] == "ElectraForSequenceClassification"
    assert loaded(copy, package="tiny").info["architecture"] == "TorchScript (bert)"


def test_a_package_that_is_written_is_checked_first(tmp_path: Path, made_package: MadePackage) -> None:
    shutil.copy(made_package("bert") / "tiny.pt", tmp_path)
    with pytest.raises(ModelLoadError, match=r"is missing required \[\[UNK\]\] token"):
        made.write(tmp_path, "tiny", config=made.config("bert"), vocabulary={"vocabulary": ["a"]})
    with pytest.raises(ModelLoadError, match="the vocabulary cannot be used"):
        made.write(tmp_path, "tiny", config=made.config("bert"), vocabulary={"vocabulary": [1]})
    with pytest.raises(ModelLoadError, match="a reranker is one for"):
        made.write(tmp_path, "tiny", config={}, vocabulary={"vocabulary": ["a"]})
    assert packages.names_in(tmp_path) == []
