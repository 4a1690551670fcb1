"""What a process has imported at its end: a start is spent on imports, most of them those of libraries."""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoints
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.cli import options
from rerank_proxy.engine.loading.building.plain_families import FAMILIES
from rerank_proxy.services.built_in import ENTRY_POINTS
from rerank_proxy.settings import EndpointSettings, ModelSettings, Settings
from tests.models.conftest import TinyModel

MODELS = {"torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "sentence_transformers"}
SCORES = MODELS | {
    "numpy",
    "cryptography",
    "jwt",
    "regex",
    "icu4py",
    "tenacity",
    "cachetools",
    "elasticsearch",
}
COMPILERS = {"sympy", "scipy", "triton", "torch._dynamo", "torch._inductor", "torch.distributed.tensor"}

_MARK = "imported:"
_NAMED_AT_THE_END = f"""
import atexit, sys
atexit.register(lambda: print("{_MARK}", *sys.modules, file=sys.__stderr__))
"""
COMMAND = "from rerank_proxy.__main__ import main; main()"

LOAD = """
import sys
from rerank_proxy.app import serving
for source in sys.argv[1:]:
    from rerank_proxy.engine.loading.choose import load
    from rerank_proxy.engine.loading.loaded_model import warm_up
    from rerank_proxy.settings import EngineSettings, ModelSettings
    warm_up(load("m", ModelSettings(source=source), EngineSettings(device="cpu", offline=True)))
"""


def imported(said: str) -> set[str]:
    """The modules that a process has named at its end."""
    assert _MARK in said, said[-1000:]
    return set(said.rpartition(_MARK)[2].split())


def of_process(code: str, arguments: Sequence[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _NAMED_AT_THE_END + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return imported(done.stderr)


def modelling_files(modules: set[str]) -> set[str]:
    return {name for name in modules if re.match(r"transformers\.models\.(?!auto).*\.modeling_", name)}


def test_the_process_that_relays_imports_nothing_of_models(tmp_path: Path) -> None:
    """From the real process, until it listens. The model and its endpoint are those of the README."""
    command = ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]
    command += ["--admin", "127.0.0.1:0", "--state-dir", str(tmp_path), "--model", "m=nowhere"]
    command += ["--endpoint", ".rerank-v1-elasticsearch=m", "--engine-offline", "true"]
    with subprocess.Popen(
        [sys.executable, "-c", _NAMED_AT_THE_END + COMMAND, *command], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "listening on" in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, "".join(said)[-1000:]
    assert not imported("".join(said)) & (SCORES | COMPILERS)


def test_the_application_imports_no_library_of_models_before_it_loads_one() -> None:
    assert not of_process(LOAD, []) & (MODELS | COMPILERS | {"elasticsearch"})


def test_ordinary_models_are_loaded_and_run_with_torch_alone(tiny_model: TinyModel) -> None:
    modules = of_process(LOAD, [str(tiny_model(kind)) for kind in FAMILIES])
    assert {"torch", "tokenizers"} <= modules
    assert not modules & (COMPILERS | {"transformers", "huggingface_hub", "sentence_transformers"})


def test_of_transformers_only_the_file_of_the_models_type_is_imported(tiny_model: TinyModel) -> None:
    modules = of_process(LOAD, [str(tiny_model("nomic_bert"))])
    assert modelling_files(modules) == {"transformers.models.nomic_bert.modeling_nomic_bert"}


def test_the_command_that_scores_texts_imports_nothing_of_the_proxy_around_the_engine(
    tiny_model: TinyModel,
) -> None:
    command = ["rerank", "--model", str(tiny_model("bert")), "--query", "rivers", "a", "b"]
    modules = of_process(COMMAND, command)
    assert not modules & (COMPILERS | {"transformers", "aiohttp", "cryptography", "jwt", "elasticsearch"})
    rooms = {name.split(".")[1] for name in modules if name.startswith("rerank_proxy.")}
    assert not rooms & {"app", "edge", "services", "inference", "upstream", "trained_models"}


def settings(**endpoint: Any) -> Settings:
    return Settings(
        upstream={"url": "http://es:9200"},
        models={"m": ModelSettings(source="/m")},
        endpoints={"e": EndpointSettings(**endpoint)},
    )


@pytest.mark.parametrize(
    ("endpoint", "needed"),
    [
        ({"model": "m"}, False),
        ({"model": "absent"}, True),
        ({"model": "m", "task_settings": {"return_documents": True}}, True),
        ({"service": "cohere", "service_settings": {"model_id": "rerank-v3.5"}}, True),
    ],
)
def test_services_are_imported_to_check_endpoints_that_are_not_of_a_model_of_the_settings(
    endpoint: Mapping[str, Any], needed: bool
) -> None:
    assert options._need_services(settings(**endpoint)) is needed


def test_and_to_check_that_plug_ins_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options.SERVICE_PLUG_INS == ENTRY_POINTS
    asked = []

    def entry_points(group: str) -> EntryPoints | list[str]:
        asked.append(group)
        return ["a plug-in"]

    monkeypatch.setattr(options, "entry_points", entry_points)
    assert options._need_services(settings(model="m"))
    assert asked == [ENTRY_POINTS]
