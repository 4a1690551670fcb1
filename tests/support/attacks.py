"""What can be done to a model's directory to do harm when it is loaded."""

import json
import os
import pickle
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Attack = Callable[[Path, Path], None]
"""Changes a model's directory; code that runs makes the file."""


class Payload:
    """An object whose pickle makes a directory when it is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


def code(canary: Path) -> str:
    return f"import os\nos.mkdir({str(canary)!r})\n"


def in_config(**changes: Any) -> Attack:
    return lambda model, canary: change(model / "config.json", **changes)


def in_tokenizer_config(**changes: Any) -> Attack:
    return lambda model, canary: change(model / "tokenizer_config.json", **changes)


def file(name: str, content: str | bytes) -> Attack:
    def write(model: Path, canary: Path) -> None:
        path = model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def in_turn(*attacks: Attack) -> Attack:
    def write(model: Path, canary: Path) -> None:
        for attack in attacks:
            attack(model, canary)

    return write


def removed(name: str) -> Attack:
    return lambda model, canary: (model / name).unlink()


def with_code(name: str, *attacks: Attack) -> Attack:
    """Add a file of Python code to the directory."""

    return in_turn(lambda model, canary: file(name, code(canary))(model, canary), *attacks)


def pickled(name: str, *, keep: bool = False) -> Attack:
    """Write a pickle that runs code, in place of the weights or beside them."""

    def write(model: Path, canary: Path) -> None:
        if not keep:
            (model / "model.safetensors").unlink()
        torch.save({"weight": Payload(canary)}, model / name)

    return write


def bare_pickle(name: str) -> Attack:
    return lambda model, canary: file(name, pickle.dumps(Payload(canary)))(model, canary)


def modules(*entries: tuple[str, str]) -> Attack:
    """Add modules to modules.json, after a Transformer."""
    listed = [("", "sentence_transformers.models.Transformer"), *entries]

    def write(model: Path, canary: Path) -> None:
        content = [
            {"idx": at, "name": str(at), "path": path, "type": kind} for at, (path, kind) in enumerate(listed)
        ]
        (model / "modules.json").write_text(json.dumps(content))

    return write


def index(name: str, *, copied_to: str | None = None) -> Attack:
    """Write an index that names other weights than those beside it."""

    def write(model: Path, canary: Path) -> None:
        weights = model / "model.safetensors"
        if copied_to is not None:
            target = model.parent / copied_to
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(weights, target)
        else:
            weights.unlink()
        named = name.replace("@", str(model.parent))
        (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": named}}))

    return write


def linked(name: str, target: str) -> Attack:
    """Replace a file by a symbolic link."""

    def write(model: Path, canary: Path) -> None:
        outside = model.parent / "elsewhere"
        outside.mkdir(exist_ok=True)
        if (model / name).exists():
            shutil.move(model / name, outside / name)
        (model / name).symlink_to(target.replace("@", str(outside)))

    return write


def special(name: str, kind: str) -> Attack:
    """Put something else in the place of a file."""

    def write(model: Path, canary: Path) -> None:
        path = model / name
        path.unlink(missing_ok=True)
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                here = os.getcwd()  # the path of a socket must be short
                os.chdir(model)
                try:
                    with socket.socket(socket.AF_UNIX) as bound:
                        bound.bind(name)
                finally:
                    os.chdir(here)
            case "device":
                path.symlink_to("/dev/zero")

    return write


def sparse(name: str, size: int) -> Attack:
    """Write a file of zeros that takes no space on the disk."""

    def write(model: Path, canary: Path) -> None:
        with (model / name).open("wb") as out:
            out.truncate(size)

    return write


def header(length: int, content: bytes = b"") -> Attack:
    """Write a safetensors file with a header of that length."""

    def write(model: Path, canary: Path) -> None:
        with (model / "model.safetensors").open("wb") as out:
            out.write(struct.pack("<Q", length) + content)
            out.truncate(8 + length + 1024)

    return write


def cut_at(share: float) -> Attack:
    def write(model: Path, canary: Path) -> None:
        path = model / "model.safetensors"
        os.truncate(path, int(path.stat().st_size * share))

    return write


def packed_zeros(path: Path) -> None:
    """Write a zip file of half a gigabyte of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data/0", "w") as entry,
    ):
        for _ in range(32):
            entry.write(bytes(16 * 1024 * 1024))


def bomb(name: str) -> Attack:
    """Write weights that unpack to a much larger size."""

    def write(model: Path, canary: Path) -> None:
        (model / "model.safetensors").unlink()
        packed_zeros(model / name)

    return write
