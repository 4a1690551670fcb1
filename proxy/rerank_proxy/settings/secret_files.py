"""Put what files hold in the place of the settings that name them: `password_file` becomes `password`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.settings.rows import table
from rerank_proxy.settings.values import copied, shortened

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Settings with the secrets of the files that they name.

    Attributes:
        values: The settings, with the secrets in the place of the names of their files.
        files: The file of each secret.
        faults: What is wrong, with the key that it is about.
    """

    values: dict[str, Any]
    files: dict[Key, Path] = field(default_factory=dict)
    faults: list[tuple[Key, str]] = field(default_factory=list)


def fetched(values: Mapping[str, Any]) -> Fetched:
    """Read the file of each secret that is named by one."""
    done = Fetched(copied(values))
    for row in table():
        if row.file_of is not None and not row.held:
            for section, inner in _sections(done.values, row.path[:-1], ()):
                _fetch(done, section, inner, row.file_of, row.path[-1])
    return done


def _sections(values: Any, path: Key, above: Key) -> Iterator[tuple[Key, dict[Any, Any]]]:
    """Yield each mapping at a path, in which `NAME` stands for any name."""
    if not isinstance(values, dict):
        return
    if not path:
        yield above, values
        return
    names = list(values) if path[0] == "NAME" else [path[0]]
    for name in names:
        yield from _sections(values.get(name), path[1:], (*above, str(name)))


def _fetch(done: Fetched, section: Key, values: dict[Any, Any], secret: str, file: str) -> None:
    path = values.pop(file, None)
    if path is None:
        return
    if values.get(secret) is not None:
        done.faults.append((section, f"give either `{secret}` or `{file}`"))
        return
    if not isinstance(path, str | Path) or not str(path):
        done.faults.append(((*section, file), "expected a path"))
        return
    try:
        values[secret] = read_secret(Path(path))
    except UnfitFileError as error:
        done.faults.append(((*section, file), f"{_shown(str(path))}: {error.problem}"))
    else:
        done.files[*section, secret] = Path(path)


def _shown(path: str) -> str:
    """Return a path as a message shows it; not one that may be the secret itself, in its file's place."""
    return shortened(path) if path.startswith(("/", "./", "../", "~")) else "the file that it names"
