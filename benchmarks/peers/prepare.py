"""Make the ONNX files that some peers read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.processes import PeerError, interpreter
from benchmarks.peers.runners import ONNX, ONNX_INT8

_EXPORT: Final = Path(__file__).with_name("export.py")


def export(directory: Path) -> None:
    """Write what they read into a model's directory.

    torch and transformers are those of this environment, what they need to export comes from that of `onnx`.

    Raises:
        PeerError: They cannot be made.
    """
    python = Path(interpreter("onnx"))
    packages = next(python.parent.parent.glob("lib/python*/site-packages"))
    fp32, int8 = str(directory / ONNX), str(directory / ONNX_INT8)
    # FlashRank reads it, and transformers no longer writes it.
    special = json.loads((directory / "tokenizer_config.json").read_text())
    tokens = {name: token for name, token in special.items() if name.endswith("_token") and token}
    (directory / "special_tokens_map.json").write_text(json.dumps(tokens))
    _run([sys.executable, str(_EXPORT), "fp32", str(directory), fp32], str(packages))
    _run([str(python), str(_EXPORT), "int8", fp32, int8], "")


def _run(command: list[str], packages: str) -> None:
    environment = {**os.environ, "PYTHONPATH": packages}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PeerError(f"the export failed: {reason}")
