"""Directories that were made to do harm: none of their code runs, and they are cheap to refuse.

Files that ask for something unsupported are refused, in one line; files that do not matter are ignored.
"""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
import torch

from rerank_proxy.engine import InferenceError, ModelFailedError
from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.rows import Row
from rerank_proxy.processes.supervisor import APP_COMMAND
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.support import packages as made
from tests.support.attacks import (
    Attack,
    Payload,
    bare_pickle,
    bomb,
    change,
    code,
    cut_at,
    file,
    header,
    in_config,
    in_tokenizer_config,
    in_turn,
    index,
    linked,
    modules,
    packed_zeros,
    pickled,
    removed,
    sparse,
    special,
    with_code,
)
from tests.support.engines import running
from tests.support.processor_time import spending

LOADS: Final = ""
"""In place of a reason: the model is served, and what was added to it is not read."""

MAX_PROCESSOR_S: Final = 10.0
"""Far more than a refusal costs, far less than what it refuses."""

LOOP: Final = "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}"
DEEP: Final = '{"a":' * 100_000 + "1" + "}" * 100_000
HUGE_SHAPE: Final = b'{"a":{"dtype":"F32","shape":[99999999999,99999999],"data_offsets":[0,4]}}'
AUTO_MAP: Final = {"AutoModelForSequenceClassification": "evil.Model", "AutoConfig": "evil.Config"}
POOLING: Final = ("1_Pooling", "sentence_transformers.models.Pooling")
LIBRARY: Final = "config_sentence_transformers.json"
DIST_INFO: Final = "evil-1.0.dist-info"

OWN_CODE: Final = "needs Python code of its own"
OUTSIDE: Final = "leads out of the model's directory"

READ_FILES: Final = (
    "added_tokens.json",
    "adapter_config.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "modules.json",
    "pytorch_model.bin",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    LIBRARY,
)

ATTACKS: Final[dict[str, tuple[Attack, str]]] = {
    # code
    "auto_map of config": (with_code("evil.py", in_config(auto_map=AUTO_MAP)), OWN_CODE),
    "auto_map of config, of the hub": (in_config(auto_map={"AutoModel": "evil/repo--evil.Model"}), OWN_CODE),
    "auto_map within config": (with_code("evil.py", in_config(text_config={"auto_map": AUTO_MAP})), OWN_CODE),
    "auto_map of tokenizer": (
        with_code("evil.py", in_tokenizer_config(auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]})),
        OWN_CODE,
    ),
    "auto_map of tokenizer, as a list": (
        with_code("evil.py", in_tokenizer_config(auto_map=["evil.Slow", None])),
        OWN_CODE,
    ),
    "auto_map of processor": (
        with_code("evil.py", file("processor_config.json", '{"auto_map":{"AutoProcessor":"evil.Any"}}')),
        OWN_CODE,
    ),
    "class of tokenizer": (with_code("evil.py", in_tokenizer_config(tokenizer_class="evil.Slow")), LOADS),
    "custom pipelines": (
        with_code("evil.py", in_config(custom_pipelines={"rerank": {"impl": "evil.Pipeline", "pt": []}})),
        LOADS,
    ),
    "modules of the libraries' names": (
        with_code("tokenizers.py", *map(with_code, ("torch.py", "modeling_bert.py", "sitecustomize.py"))),
        LOADS,
    ),
    "a package": (with_code("__init__.py", with_code("tokenizer.py", with_code("setup.py"))), LOADS),
    "entry points": (
        with_code(
            "evil.py",
            file(f"{DIST_INFO}/METADATA", "Name: evil\nVersion: 1.0\n"),
            file(f"{DIST_INFO}/entry_points.txt", "[rerank_proxy.backends]\nauto = evil\nevil = evil\n"),
        ),
        LOADS,
    ),
    "a generating loop of its own": (
        with_code("custom_generate/generate.py", file("generation_config.json", '{"custom_generate":"x"}')),
        LOADS,
    ),
    "a kernel of the hub": (in_config(attn_implementation="evil/kernel"), "names a program from elsewhere"),
    "a kernel of the hub, privately": (
        in_config(_attn_implementation_internal="evil/kernel:attention"),
        "names a program from elsewhere",
    ),
    "a module of any class": (with_code("evil.py", modules(("", "evil.Pooling"))), OWN_CODE),
    "a transformer of any class": (
        with_code("evil.py", file("modules.json", '[{"type":"evil.Transformer","path":""}]')),
        OWN_CODE,
    ),
    # pickles
    "pickled weights": (pickled("pytorch_model.bin"), "its weights cannot be loaded"),
    "a bare pickle": (
        in_turn(removed("model.safetensors"), bare_pickle("pytorch_model.bin")),
        "its weights cannot be loaded",
    ),
    "pickles beside the weights": (pickled("pytorch_model.bin", keep=True), LOADS),
    "pickled arguments": (pickled("training_args.bin", keep=True), LOADS),
    "a pickled vocabulary": (bare_pickle("vocab.pkl"), LOADS),
    "a torch.load'ed vocabulary": (
        in_turn(
            pickled("vocab.bin", keep=True),
            in_tokenizer_config(tokenizer_class="TransfoXLTokenizer", pretrained_vocab_file="vocab.bin"),
        ),
        LOADS,
    ),
    "pickled programs": (pickled("model.pt", keep=True), LOADS),
    "a packed bomb": (bomb("pytorch_model.bin"), "unpacks to 536870912 bytes"),
    # templates
    "a template that loops": (file("chat_template.jinja", LOOP), "its chat template fails"),
    "a template that loops, in the tokenizer's": (
        in_tokenizer_config(chat_template=LOOP),
        "its chat template fails",
    ),
    "a template that loops, of a model of plain text": (
        in_turn(
            file("chat_template.jinja", LOOP),
            file("sentence_bert_config.json", '{"max_seq_length": 64}'),
            file("modules.json", '[{"type": "sentence_transformers.models.Transformer", "path": ""}]'),
        ),
        LOADS,
    ),
    "further templates that are not files": (
        in_turn(
            file("additional_chat_templates/b.jinja", "x"),
            special("additional_chat_templates/a.jinja", "pipe"),
        ),
        "is a named pipe",
    ),
    # elsewhere
    "weights above": (index("../weights.safetensors", copied_to="weights.safetensors"), "are not beside it"),
    "weights anywhere": (index("@/model.safetensors", copied_to="model.safetensors"), "are not beside it"),
    "weights that are not there": (index("x.safetensors"), "lacks [x.safetensors]"),
    "weights that are a device": (index("/dev/zero"), "are not beside it"),
    "weights behind a link": (linked("model.safetensors", "@/model.safetensors"), OUTSIDE),
    "config behind a link": (linked("config.json", "@/config.json"), OUTSIDE),
    "a link to a secret": (linked("tokenizer_config.json", "/etc/passwd"), OUTSIDE),
    "a link in a circle": (
        lambda model, canary: (model / "vocab.txt").symlink_to("vocab.txt"),
        "cannot be read",
    ),
    "explicit weights": (in_config(transformers_weights="../x.safetensors"), "are not beside it"),
    "files of the tokenizer elsewhere": (
        in_tokenizer_config(tokenizer_file="/dev/zero", vocab_file="../../vocab.txt"),
        LOADS,
    ),
    "a module above": (modules(("../elsewhere", POOLING[1])), OUTSIDE),
    "a module anywhere": (modules(("/etc", POOLING[1])), OUTSIDE),
    "an adapter": (file("adapter_config.json", '{"base_model_name_or_path":"a/b"}'), "holds an adapter"),
    # no files
    **{
        f"{name} is a {kind}": (special(name, kind), "not a file")
        for name in READ_FILES
        for kind in ("pipe", "directory", "socket")
    },
    "config.json is a device": (special("config.json", "device"), "is a device"),
    # sizes
    "a million layers": (in_config(num_hidden_layers=10**6), "says [num_hidden_layers]: 1000000"),
    "layers beyond any float": (in_config(num_hidden_layers=10**400), "num_hidden_layers"),
    "a thousand million labels": (in_config(num_labels=10**9), "says [num_labels]"),
    "experts": (in_config(num_experts=1000, num_hidden_layers=1000), "describes 1000000 experts"),
    "a huge vocabulary": (in_config(vocab_size=10**9), "its config.json describes"),
    "huge layers": (in_config(hidden_size=2**20, num_attention_heads=1), "its config.json describes"),
    "huger layers": (in_config(hidden_size=2**62, intermediate_size=2**62), "config.json"),
    "positions": (in_config(max_position_embeddings=10**10), "its config.json describes"),
    "a header of 90 MB": (header(90 * 10**6), "has a header of 90000000 bytes"),
    "a header beyond any": (file("model.safetensors", struct.pack("<Q", 2**63)), "has a header of"),
    "a header of brackets": (header(10**6, b'{"a":' + b"[" * (10**6 - 5)), "has a damaged header"),
    "a header of shapes": (header(len(HUGE_SHAPE), HUGE_SHAPE), "its weights cannot be loaded"),
    "weights cut in the middle": (cut_at(0.5), "is cut short"),
    "weights cut in the header": (cut_at(0.001), "is cut short"),
    "no weights": (file("model.safetensors", b""), "is cut short"),
    "a huge tokenizer": (sparse("tokenizer.json", 10**12), "such a file has at most"),
    "a huge vocabulary file": (sparse("vocab.txt", 10**12), "such a file has at most"),
    "huge merges": (sparse("merges.txt", 10**12), "such a file has at most"),
    "a huge config": (sparse("config.json", 10**10), "is larger than"),
    "a huge list of modules": (sparse("modules.json", 10**10), "is larger than"),
    "a deep config": (file("config.json", DEEP), "config.json"),
    "a deep config of the tokenizer": (file("tokenizer_config.json", DEEP), "tokenizer_config.json"),
    "a deep list of modules": (file("modules.json", DEEP), "modules.json"),
    "a deep tokenizer": (file("tokenizer.json", DEEP), "tokenizer"),
    "a deep index": (file("model.safetensors.index.json", DEEP), "index.json"),
    "a long number": (in_config(hidden_size=float("1e300")), "config.json"),
    "very many files": (
        in_turn(*(file(f"{number}.x", "") for number in range(10_001))),
        "has more than 10000 files",
    ),
    "a thousand modules": (modules(*([POOLING] * 1000)), "names 1001 modules"),
    "prompts that are not texts": (file(LIBRARY, '{"prompts": {"query": 5}}'), LIBRARY),
    "prompts that are long": (
        file(LIBRARY, json.dumps({"prompts": {"query": "x" * 10**5}})),
        "a prompt has more",
    ),
    "a prompt's name that is not a text": (file(LIBRARY, '{"default_prompt_name": ["x"]}'), LIBRARY),
    "a length that is not a number": (
        file("sentence_bert_config.json", '{"max_seq_length":"x"}'),
        "_bert_config",
    ),
    "names that forge a line": (in_config(architectures=["x\nERROR \x1b[31m" + "y" * 10**5]), "is x ERROR"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack(tiny_model: TinyModel, tmp_path: Path, name: str) -> None:
    attack, reason = ATTACKS[name]
    model = Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))
    canary = tmp_path / "canary"
    attack(model, canary)
    said = None
    with spending() as spent:
        async with running({"m": model}) as engine:
            try:
                await engine.scores("m", "a query", ["a text"])
            except ModelFailedError as failure:
                said = str(failure)
    assert spent.seconds < MAX_PROCESSOR_S
    assert not canary.exists(), "code of the model ran"
    if reason:
        assert said is not None
        assert reason in said
    else:
        assert said is None
    if said is not None:
        assert said.isprintable()
        assert len(said) < 1500


async def test_a_tokenizer_that_panics_while_it_is_loaded(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model("modernbert"), tmp_path / "model"))
    change(model / "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": ""})
    async with running({"m": model}) as engine:
        with pytest.raises(ModelFailedError, match="PanicException"):
            await engine.scores("m", "a query", ["a text"])
        assert engine.status()["m"].state == "failed"


async def test_a_tokenizer_that_panics_over_a_text(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(self: CrossEncoder, query: str, texts: Sequence[str], positions: Sequence[int]) -> list[Row]:
        raise BaseException("index out of bounds")  # what a panic of a library in Rust is to Python

    async with running({"m": tiny_model("bert")}) as engine:
        await engine.scores("m", "a query", ["a text"])
        with monkeypatch.context() as patch:
            patch.setattr(CrossEncoder, "encode", panic)
            with pytest.raises(InferenceError, match="index out of bounds"):
                await engine.scores("m", "a query", ["another text"])
        assert (await engine.scores("m", "a query", ["another text"])).values


@pytest.fixture
def package(tiny_model: TinyModel, tmp_path: Path) -> Path:
    directory = tmp_path / "package"
    directory.mkdir()
    made.build("bert", tiny_model("bert"), directory)
    return directory


def replaced(package: Path, content: Callable[[Path], None]) -> None:
    """Write another program, with the metadata that belong to it."""
    content(package / "tiny.pt")
    metadata = json.loads((package / "tiny.metadata.json").read_text())
    del metadata["sha256"], metadata["size"]
    (package / "tiny.metadata.json").write_text(json.dumps(metadata))


PACKAGE_ATTACKS: Final[dict[str, tuple[Attack, str]]] = {
    "a pickle": (
        lambda package, canary: replaced(package, lambda path: torch.save({"w": Payload(canary)}, path)),
        "cannot be loaded as TorchScript",
    ),
    "a bomb": (lambda package, canary: replaced(package, packed_zeros), "unpacks to"),
    "a program that is a pipe": (
        special("tiny.pt", "pipe"),
        "tiny.pt]",
    ),
    "a vocabulary that is a pipe": (
        special("tiny.vocab.json", "pipe"),
        "is a named pipe",
    ),
    "a huge vocabulary": (sparse("tiny.vocab.json", 10**12), "is larger than"),
    "huge metadata": (sparse("tiny.metadata.json", 10**12), "is larger than"),
    "deep metadata": (file("tiny.metadata.json", DEEP), "tiny.metadata.json] cannot be read"),
    "rows of a million tokens": (
        lambda package, canary: file(
            "tiny.metadata.json",
            (package / "tiny.metadata.json").read_text().replace('_length":48', '_length":1000000'),
        )(package, canary),
        "[max_sequence_length] must be",
    ),
}


@pytest.mark.parametrize("name", PACKAGE_ATTACKS)
def test_package(package: Path, tmp_path: Path, name: str) -> None:
    attack, reason = PACKAGE_ATTACKS[name]
    canary = tmp_path / "canary"
    attack(package, canary)
    with spending() as spent, pytest.raises(ModelLoadError) as refused:
        load("m", ModelSettings(source=str(package)), EngineSettings())
    assert spent.seconds < MAX_PROCESSOR_S
    assert reason in str(refused.value)
    assert not canary.exists()


def test_the_application_imports_nothing_from_its_working_directory(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name in ("msgspec", "asyncio", "aiohttp", "torch", "rerank_proxy", "sitecustomize"):
        file(f"{name}.py", code(canary))(tmp_path, canary)
    with subprocess.Popen(
        APP_COMMAND, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("no orders\n")
        process.stdin.flush()  # and stays open: without its parent the process would end
        said = process.stderr.read()
    assert "msgspec.DecodeError" in said, "it came as far as reading its orders"
    assert not canary.exists()
