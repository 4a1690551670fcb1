"""The Dockerfile, as far as it can be checked without an engine."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from rerank_proxy.files.state import state_directory
from rerank_proxy.settings import load
from tests.support.project import ROOT
from tests.support.wheels import build_wheel

FILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    name: str
    arguments: str


def _instructions() -> list[Instruction]:
    """One entry per instruction, continuation lines joined, comments left out."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name, arguments) for name, arguments in pairs]


def _last_stage() -> list[Instruction]:
    instructions = _instructions()
    start = max(place for place, each in enumerate(instructions) if each.name == "FROM")
    return instructions[start:]


def _only(name: str) -> str:
    (found,) = [each.arguments for each in _last_stage() if each.name == name]
    return found


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _only("ENV").split())


def _copied() -> list[tuple[list[str], str]]:
    """Sources and target of every COPY out of the project."""
    copies = [each.arguments.split() for each in _instructions() if each.name == "COPY"]
    return [(parts[:-1], parts[-1]) for parts in copies if not parts[0].startswith("--from")]


def _is_ignored(path: PurePosixPath) -> bool:
    """Docker's rule: the last pattern that matches the path, or a directory above it, decides."""
    ignored = False
    candidates = [str(path), *(str(parent) for parent in path.parents if str(parent) != ".")]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        names = [pattern, pattern.removeprefix("**/")]
        if any(fnmatch(candidate, name) for candidate in candidates for name in names):
            ignored = not keeps
    return ignored


def test_every_source_exists_and_is_sent_to_the_engine() -> None:
    sources = [source for sources, _ in _copied() for source in sources]
    assert "proxy" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not _is_ignored(PurePosixPath(source)), source


def test_nothing_else_is_sent_to_the_engine() -> None:
    for name in (".git/config", ".venv/bin/python", "models/weights.safetensors", "tests/conftest.py"):
        assert _is_ignored(PurePosixPath(name)), name


def test_the_package_builds_from_what_is_copied(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools, which builds the package, is not installed")
    context = tmp_path / "src"
    context.mkdir()
    for sources, target in _copied():
        if target.startswith("/"):
            continue
        for source in sources:
            _copy(ROOT / source, context / target)
    packed = set(ZipFile(build_wheel(context, tmp_path)).namelist())
    modules = {str(path.relative_to(ROOT / "proxy")) for path in (ROOT / "proxy").rglob("*.py")}
    assert modules <= packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def _copy(source: Path, target: Path) -> None:
    """As COPY does: a directory's content into the target, a file into a directory."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(exist_ok=True)
        shutil.copy(source, target)


def test_python_is_one_that_the_project_supports() -> None:
    bases = {each.arguments for each in _instructions() if each.name == "FROM"}
    (version,) = {match[1] for base in bases if (match := re.match(r"python:(3\.\d+)-slim-", base))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert _numbers(version) >= _numbers(oldest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def test_it_runs_as_the_user_that_the_deployments_name() -> None:
    user = _only("USER")
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["proxy"]["user"] == user
    assert int(user.split(":")[0]) > 0
    assert f"--uid {user.split(':')[0]} --gid {user.split(':')[1]}" in FILE.read_text(encoding="utf-8")


def test_it_starts_a_script_of_the_project() -> None:
    scripts: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (program,) = json.loads(_only("ENTRYPOINT"))
    assert program in scripts["scripts"]
    assert json.loads(_only("CMD")) == ["serve"]


def test_the_settings_are_where_they_are_looked_for_and_fit_the_ports() -> None:
    copies = [(sources, target) for sources, target in _copied() if target.startswith("/")]
    assert (["config/container.yaml"], _environment()["RERANK_PROXY_CONFIG"]) in copies
    settings = load(ROOT / "config" / "container.yaml", environ={})
    assert _only("EXPOSE").split() == [str(settings.listen.port), str(settings.admin.listen.port)]
    assert settings.listen.host == settings.admin.listen.host == "0.0.0.0"


def test_any_user_of_group_0_can_write_where_the_proxy_writes() -> None:
    """OpenShift chooses the user. The proxy makes the state directory, for that user alone."""
    environment = _environment()
    state = PurePosixPath(environment["RERANK_PROXY_STATE_DIR"])
    made = re.search(r"install --directory --owner=10001 --group=0 --mode=0770 (\S+) (\S+)", _only("RUN"))
    assert made is not None
    assert set(made.groups()) == {"/cache", str(state.parent)}
    assert environment["LOGNAME"], "a user that /etc/passwd does not have needs a name for some libraries"


def test_the_extras_are_real_and_each_layer_holds_one_thing() -> None:
    """What changes with the code, what does not, and what is only looked at lie in layers of their own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"', FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(extras.split()) <= set(project["optional-dependencies"])
    copied = [each.arguments for each in _last_stage() if each.name == "COPY"]
    stages = [arguments for arguments in copied if arguments.startswith("--from=")]
    assert [arguments.split()[0] for arguments in stages] == [
        "--from=dependencies",
        "--from=dependencies",
        "--from=project",
    ]


def test_files_keep_their_times() -> None:
    """Byte code is only used for a source that has the time that it was compiled with."""
    (installed,) = [each.arguments for each in _instructions() if "/installed" in each.arguments]
    assert "cp --parents --preserve" in installed


def test_the_labels_are_those_of_the_open_container_initiative() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', _only("LABEL")))
    assert (labels["title"], labels["licenses"]) == (project["name"], project["license"])
    arguments = {each.arguments.partition("=")[0] for each in _last_stage() if each.name == "ARG"}
    used = {name for value in labels.values() for name in re.findall(r"\$\{(\w+)\}", value)}
    assert used == arguments == {"VERSION", "REVISION", "CREATED", "SOURCE"}
    assert {"version", "revision", "created", "source", "description", "documentation"} <= labels.keys()


def test_licences_are_beside_what_they_are_for() -> None:
    commands = [each.arguments for each in _instructions() if "deploy.release.licences" in each.arguments]
    assert [command.split()[-2:] for command in commands] == [
        ["/opt/rerank-proxy/bin/python", "/usr/share/doc/rerank-proxy"]
    ]
    assert (["LICENSE"], "/usr/share/doc/rerank-proxy/") in _copied()


def test_nothing_installs_packages_in_the_image() -> None:
    assert "pip uninstall --yes" in _only("RUN")
    assert 'rm -r "${library}/ensurepip"' in _only("RUN")
    assert not [
        each for each in _last_stage() if "pip install" in each.arguments or "apt-get" in each.arguments
    ]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_package_has_a_wheel_for_both_platforms(machine: str, pytestconfig: pytest.Config) -> None:
    """In the locked version: nothing is compiled in the image, where no compiler is."""
    if not pytestconfig.getoption("long"):
        pytest.skip("asks the index of packages about each of them: --long does")
    text = FILE.read_text(encoding="utf-8")
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"', text, re.MULTILINE)
    (python,) = re.findall(r"^FROM python:(3\.\d+)", text, re.MULTILINE)
    options = ["--python-version", python, "--python-platform", f"{machine}-manylinux_2_28", "--no-build"]
    options += [f"--extra={extra}" for extra in extras.split()]
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "compile", "--constraints", "requirements/constraints.txt", *options]
    resolved = subprocess.run(
        [*command, "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert resolved.returncode == 0, resolved.stderr
    assert "\ntorch==" in resolved.stdout


def test_hadolint_has_nothing_against_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, FILE], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_only_tmp_and_the_state_directory_are_written_to() -> None:
    environment = _environment()
    state = state_directory(load(environ={"RERANK_PROXY_STATE_DIR": environment["RERANK_PROXY_STATE_DIR"]}))
    assert f"--owner=10001 --group=0 --mode=0770 /cache {state.parent} " in _only("RUN")
    for name in ("HOME", "TMPDIR", "HF_HOME"):
        assert PurePosixPath(environment[name]).is_relative_to("/tmp"), name
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"


def test_all_byte_code_is_compiled_before_nothing_can_be_written_any_more() -> None:
    assert any("UV_COMPILE_BYTECODE=1" in each.arguments for each in _instructions() if each.name == "ENV")
    assert "compileall -q" in _only("RUN")
    assert 'sysconfig.get_path("stdlib")' in _only("RUN")


def test_the_health_check_is_python_that_asks_the_admin_port() -> None:
    options, _, command = _only("HEALTHCHECK").partition("CMD ")
    assert re.fullmatch(r"(--[a-z-]+=\d+s?\s+)*", options), options
    program, option, script = json.loads(command)
    assert (program, option) == ("python", "-c")
    ast.parse(script)
    assert "http://127.0.0.1:9202/live" in script


def test_every_download_is_held_to_a_version() -> None:
    installs = [each.arguments for each in _instructions() if "pip install" in each.arguments]
    held = r"--requirement requirements/uv\.txt|onstraints requirements/constraints\.txt"
    assert len(installs) == 4
    for install in installs:
        assert re.search(held, install)
    for line in (ROOT / "requirements" / "uv.txt").read_text(encoding="utf-8").splitlines():
        assert "==" in line, line
