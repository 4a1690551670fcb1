"""Load the settings from a file, a directory of secrets, the environment and the command line."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.settings.environment import read_environment
from rerank_proxy.settings.faults import faults_of
from rerank_proxy.settings.merging import merge
from rerank_proxy.settings.named_values import NamedValues
from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.rows import FILE_SUFFIX
from rerank_proxy.settings.secret_files import Fetched, fetched
from rerank_proxy.settings.secrets_directory import read_directory
from rerank_proxy.settings.values import InvalidSettingsError
from rerank_proxy.settings.yaml_file import YamlFile, read_file

MAX_FAULTS: Final = 100
"""The most faults that are told at once."""

SourceKind = Literal["default", "file", "secrets directory", "environment", "command line", "secret file"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting comes from.

    Attributes:
        place: `FILE:LINE:COLUMN`, another file, or a variable; empty for the other sources.
    """

    kind: SourceKind
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Sources:
    """The sources of the settings, to say where a value was given."""

    file: YamlFile | None
    directory: NamedValues
    environment: NamedValues
    overrides: Mapping[str, Any]
    secret_files: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """Return what is wrong with the sources themselves."""
        of_file = self.file.faults if self.file is not None else ()
        return [*of_file, *self.directory.faults, *self.environment.faults]

    def merged(self) -> dict[str, Any]:
        values: dict[str, Any] = dict(self.file.values) if self.file is not None else {}
        for over in (self.directory.values, self.environment.values, self.overrides):
            values = merge(values, over)
        return values

    def origin(self, key: Sequence[str]) -> Origin:
        """Return where a key was given."""
        key = tuple(key)
        if key in self.secret_files:
            return Origin("secret file", str(self.secret_files[key]))
        if _holds(self.overrides, key):
            return Origin("command line")
        if _holds(self.environment.values, key):
            return Origin("environment", self.environment.name_of(key) or "")
        if _holds(self.directory.values, key):
            return Origin("secrets directory", self.directory.name_of(key) or "")
        if self.file is not None and _holds(self.file.values, key):
            return Origin("file", self.file.place(key))
        return Origin("default")

    def subject(self, key: Sequence[str]) -> str:
        """Return a key and the source that gave it; a missing key has the source of its section."""
        named = f"[{'.'.join(key)}]"
        for given in (tuple(key), tuple(key[:-1])):
            origin = self.origin(given)
            exact = {self.environment.names.get(tuple(key)), self.directory.names.get(tuple(key))}
            if origin.place:
                return origin.place if origin.place in exact else f"{origin.place}: {named}"
            if origin.kind != "default":
                return named
        return named


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they come from.

    Attributes:
        values: The settings as they were given, merged.
        secret_files: The file of each secret that has been read from one.
    """

    settings: Settings
    values: Mapping[str, Any]
    secret_files: Mapping[tuple[str, ...], Path]
    origin: Callable[[Sequence[str]], Origin]
    """Returns where a key was given."""


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    secrets_dir: Path | None = None,
) -> Settings:
    """Return the settings that `load_with_origins` does.

    Raises:
        InvalidSettingsError: It lists everything that is wrong.
    """
    return load_with_origins(config, overrides, environ, secrets_dir).settings


def load_with_origins(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    secrets_dir: Path | None = None,
) -> Loaded:
    """Merge the settings of a YAML file, a directory of secrets, the environment and `overrides` (the command
    line), and read the files of secrets.

    A later source overrides an earlier one.

    Raises:
        InvalidSettingsError: It lists everything that is wrong.
    """
    directory = read_directory(secrets_dir) if secrets_dir is not None else NamedValues()
    environment = read_environment(os.environ if environ is None else environ)
    try:
        file = read_file(config) if config is not None else None
    except InvalidSettingsError as error:  # without the file, nothing can be said of the rest
        raise InvalidSettingsError(*error.faults, *directory.faults, *environment.faults) from None
    sources = _Sources(file, directory, environment, overrides or {})
    merged = sources.merged()
    read = fetched(merged)
    unread = {key: f"{sources.subject(key)}: {problem}" for key, problem in read.faults}
    sources.secret_files.update(read.files)
    found = faults_of(read.values, sources.subject, _without(unread))
    faults = [*sources.faults(), *unread.values(), *islice(found, MAX_FAULTS + 1)]
    if len(faults) > MAX_FAULTS:
        faults = [*faults[:MAX_FAULTS], "there are further faults, which are told when these are mended"]
    if faults:
        raise InvalidSettingsError(*faults)
    return Loaded(Settings(**read.values), merged, _files(directory, read), sources.origin)


def _without(unread: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the keys of which nothing can be said without the secrets that could not be read."""
    return {each for key in unread for each in ((*key[:-1], key[-1].removesuffix(FILE_SUFFIX)), key[:-1])}


def _files(directory: NamedValues, read: Fetched) -> dict[tuple[str, ...], Path]:
    return {**{key: Path(name) for key, name in directory.names.items()}, **read.files}


def _holds(values: object, key: Sequence[str]) -> bool:
    """Tell whether a source gives a key, by itself or as a part of a value."""
    for part in key:
        if not isinstance(values, Mapping):
            return True
        names = {str(name): name for name in values}
        if part not in names:
            return False
        values = values[names[part]]
    return bool(key)
