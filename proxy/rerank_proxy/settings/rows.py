"""The rows of the settings table, from which the command line, the settings page and messages are made."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ByteSize, SecretStr, TypeAdapter

from rerank_proxy.settings.root import Settings
from rerank_proxy.settings.values import RELOADED, SHORT_FORMS

ENV_PREFIX = "RERANK_PROXY_"
ENV_DELIMITER = "__"
FILE_SUFFIX = "_file"
"""With it, the name of a secret is that of the setting that names a file with it."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting, and where it can be given."""

    path: tuple[str, ...]
    description: str
    default: Any
    required: bool
    per_entry: bool
    """True below `models` and `endpoints`, where the second part of the path is a name of the user's
    choice."""
    secret: bool = False
    """True for a setting that is never shown. It has no option, because every user can read command lines."""
    reloaded: bool = False
    """True for a setting that SIGHUP changes in a proxy that runs."""
    file_of: str | None = None
    """The name of the secret in the same section whose file this setting names."""
    held: bool = True
    """False for the file of a secret that is read with the settings: they hold what is in it."""
    choices: tuple[str, ...] = ()
    """What the setting may be, if it is one of a few."""
    is_path: bool = False

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def default_text(self) -> str:
        """The default as it is written in the file."""
        return text_of(self.default)

    @property
    def environment(self) -> str | None:
        return None if self.per_entry else ENV_PREFIX + ENV_DELIMITER.join(self.path).upper()

    @property
    def option(self) -> str | None:
        if self.per_entry or self.secret:
            return None
        short = len(self.path) == 2 and SHORT_FORMS.get(self.path[0]) == self.path[1]
        return "--" + "-".join(self.path[:1] if short else self.path).replace("_", "-")


def text_of(value: Any) -> str:
    """Return the value of a setting as it is written in the file."""
    if isinstance(value, ByteSize):
        text = value.human_readable().replace(".0", "")
        return text if TypeAdapter(ByteSize).validate_python(text) == value else str(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def table() -> Iterator[SettingRow]:
    """Yield every setting, in the order of the fields of `Settings`."""
    yield from _table()


@cache
def _table() -> tuple[SettingRow, ...]:
    return tuple(_rows(Settings, ()))


def _rows(
    model: type[BaseModel], path: tuple[str, ...], *, per_entry: bool = False, reloaded: bool = False
) -> Iterator[SettingRow]:
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        with_section = reloaded or RELOADED in field.metadata
        if section is None:
            row = SettingRow(
                (*path, name),
                field.description or "",
                None if field.is_required() else field.get_default(call_default_factory=True),
                field.is_required(),
                per_entry,
                holds_secret(field.annotation),
                with_section,
                _secret_of(model, name),
                choices=tuple(_choices(field.annotation)),
                is_path=Path in _types(field.annotation),
            )
            yield row
            if row.secret and name + FILE_SUFFIX not in model.model_fields:
                yield _file_row(row)
        elif get_origin(field.annotation) is dict:
            yield from _rows(section, (*path, name, "NAME"), per_entry=True, reloaded=with_section)
        else:
            yield from _rows(section, (*path, name), per_entry=per_entry, reloaded=with_section)


def _secret_of(model: type[BaseModel], name: str) -> str | None:
    """Return the secret whose file a setting names."""
    secret = name.removesuffix(FILE_SUFFIX)
    field = model.model_fields.get(secret) if secret != name else None
    return secret if field is not None and holds_secret(field.annotation) else None


def _file_row(secret: SettingRow) -> SettingRow:
    """Return the setting that names the file of a secret: every secret has one."""
    *section, name = secret.path
    return SettingRow(
        (*section, name + FILE_SUFFIX),
        f"A file that holds `{name}`, in its place. It is read when the settings are.",
        None,
        required=False,
        per_entry=secret.per_entry,
        reloaded=secret.reloaded,
        file_of=name,
        held=False,
        is_path=True,
    )


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _choices(annotation: Any) -> Iterator[str]:
    for each in _types(annotation):
        if get_origin(each) is Literal:
            yield from map(str, get_args(each))


def known_keys(path: list[str]) -> list[str]:
    fields = model_at(path).model_fields
    secrets = [name for name, field in fields.items() if section_of(field.annotation) is None]
    files = [name + FILE_SUFFIX for name in secrets if holds_secret(fields[name].annotation)]
    return list(dict.fromkeys((*fields, *files)))


def is_secret(path: list[str]) -> bool:
    field = model_at(path[:-1]).model_fields.get(path[-1]) if path else None
    return field is not None and holds_secret(field.annotation)


def holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(holds_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(holds_secret, get_args(annotation)))


def model_at(path: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for key in path:
        field = model.model_fields.get(key)
        inner = section_of(field.annotation) if field else None
        if inner is not None:
            model = inner
        # Any other key is the name of an entry in a mapping: stay with the type of the mapping's values.
    return model


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the `Section` in the annotation of a field, which may be the type of a mapping's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(get_args(annotation)):
        if (inner := section_of(argument)) is not None:
            return inner
    return None
