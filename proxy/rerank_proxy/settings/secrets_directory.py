"""Read settings from a directory with a file for each, as Docker and Kubernetes mount secrets."""

import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.settings.guesses import hint
from rerank_proxy.settings.named_values import NamedValues, is_known, key_of, known_keys, variable_of
from rerank_proxy.settings.rows import ENV_DELIMITER, ENV_PREFIX

MAX_FILES: Final = 10_000
"""The most entries of a directory."""


def read_directory(directory: Path) -> NamedValues:
    """Read the files of a directory that are named as settings: as their environment variables, in either
    case, with or without the prefix.

    What begins with a dot is skipped, as Kubernetes keeps the versions of a secret under such names, and so
    are directories. A name with the prefix or with two underscores is meant as that of a setting, and a fault
    if there is no such setting; what has another name may be there for others.
    """
    read = NamedValues()
    try:
        with os.scandir(directory.expanduser()) as entries:
            found = sorted(entry.name for entry in islice(entries, MAX_FILES + 1) if not _skipped(entry))
            too_many = next(entries, None) is not None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is not the name of a directory"
        read.faults.append(f"{directory}: cannot be read: {reason}")
        return read
    if too_many:
        read.faults.append(f"{directory}: holds more than {MAX_FILES} files: is it a directory of secrets?")
    for name in found:
        _take(read, directory / name)
    return read


def _skipped(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or entry.is_dir()


def _take(read: NamedValues, path: Path) -> None:
    name = path.name.upper()
    key = key_of(name.removeprefix(ENV_PREFIX))
    if is_known(key):
        read.take(str(path), key, partial(_content, path))
    elif name.startswith(ENV_PREFIX) or ENV_DELIMITER in name:
        read.refuse(str(path), "is not named as a setting", partial(_guess, name))


def _guess(name: str) -> str:
    known = {variable_of(key).removeprefix(ENV_PREFIX).lower() for key in known_keys()}
    return hint(name.removeprefix(ENV_PREFIX).lower(), known)


def _content(path: Path) -> str:
    try:
        return read_secret(path)
    except UnfitFileError as error:
        raise ValueError(error.problem) from None
