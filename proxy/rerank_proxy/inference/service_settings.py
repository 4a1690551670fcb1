"""A service's settings as a table: how each is read, checked, shown and described.

Messages are those of ``ServiceUtils`` and ``ValidationException``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.settings.sensitive import may_be_secret
from rerank_proxy.xcontent.java_values import print_java

SERVICE_SETTINGS: Final = "service_settings"
TASK_SETTINGS: Final = "task_settings"
SECRET_SETTINGS: Final = "secret_settings"

_INT_MAX: Final = 2**31 - 1
_REDACTED: Final = "::es_redacted::"
"""The placeholder of Elasticsearch's audit log."""


class SettingKind(Enum):
    """What a setting holds. Values are the names of the catalogue (``SettingsConfigurationFieldType``)."""

    STRING = "str"
    URL = "url"
    POSITIVE_INT = "int"
    BOOLEAN = "bool"
    MAP = "map"
    LIST = "list"

    @property
    def catalogue_type(self) -> str:
        """The name of the kind in the catalogue, which knows fewer kinds."""
        return {"url": "str", "list": "map"}.get(self.value, self.value)


_JAVA_TYPES: Final = {
    SettingKind.STRING: (str, "String"),
    SettingKind.URL: (str, "String"),
    SettingKind.POSITIVE_INT: (int, "Integer"),
    SettingKind.BOOLEAN: (bool, "Boolean"),
    SettingKind.MAP: (dict, "Map"),
    SettingKind.LIST: (list, "List"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        name: Its key in `service_settings` or `task_settings`.
        label, description: What people are shown in the catalogue of services.
        secret: Whether it is stored encrypted and never shown.
        updatable: Whether `_update` may change it.
        default: The value where it is absent, which is shown; None for no default.
        choices: The values that are allowed; empty for all.
        dropped: Whether it is accepted and ignored, as Elasticsearch does with leftovers of older versions.
        check: Returns what is wrong with a value of the right type, in words that follow `[service_settings]
            `.
    """

    name: str
    kind: SettingKind = SettingKind.STRING
    label: str = ""
    description: str = ""
    required: bool = False
    secret: bool = False
    updatable: bool = False
    default: Any = None
    choices: Sequence[str] = ()
    dropped: bool = False
    check: Callable[[Any], str | None] | None = None


class SettingsReader:
    """Takes settings out of an object, and collects what is wrong as Elasticsearch does.

    Args:
        scope: `service_settings` or `task_settings`, for the messages.
        values: The object. It is copied, and what is read is taken out of the copy.
        faults: Takes the messages.
    """

    def __init__(self, scope: str, values: Mapping[str, Any], faults: list[str]) -> None:
        self._scope = scope
        self._values = dict(values)
        self._faults = faults

    def read(self, settings: Sequence[Setting], *, partial: bool = False) -> dict[str, Any]:
        """Return the values of the settings of a table, defaults included.

        Args:
            partial: Leave out absent settings, also where they are required or have a default.
        """
        found: dict[str, Any] = {}
        for setting in settings:
            value = self._take(setting, partial=partial)
            if value is not None and not setting.dropped:
                found[setting.name] = value
        return found

    def rest(self) -> dict[str, Any]:
        """Return what was not read."""
        return self._values

    def take_rest(self) -> dict[str, Any]:
        """Return what was not read, as read from now on."""
        rest, self._values = self._values, {}
        return rest

    def fault(self, message: str) -> None:
        """Add a message."""
        self._faults.append(message)

    def _take(self, setting: Setting, *, partial: bool) -> Any:
        value = self._values.pop(setting.name, None)
        if value is None:
            if setting.required and not partial:
                scope = SECRET_SETTINGS if setting.secret else self._scope
                self.fault(f"[{scope}] does not contain the required setting [{setting.name}]")
            return None if partial else setting.default
        return value if self._is_good(setting, value) else None

    def _is_good(self, setting: Setting, value: Any) -> bool:
        type_, java_name = _JAVA_TYPES[setting.kind]
        if not isinstance(value, type_) or (type_ is int and not _is_int(value)):
            shown = "The value" if setting.secret else f"The value [{print_java(value)}]"
            self.fault(
                f"field [{setting.name}] is not of the expected type. {shown} cannot be converted to a "
                f"[{java_name}]"
            )
            return False
        problem = self._problem(setting, value)
        if problem is not None:
            scope = SECRET_SETTINGS if setting.secret else self._scope
            self.fault(f"[{scope}] {problem}")
        return problem is None

    def _problem(self, setting: Setting, value: Any) -> str | None:
        name = setting.name
        if value == "":
            return f"Invalid value empty string. [{name}] must be a non-empty string"
        if setting.kind is SettingKind.POSITIVE_INT and value < 1:
            return f"Invalid value [{value}]. [{name}] must be a positive integer"
        if setting.kind is SettingKind.URL and (reason := _url_problem(value)) is not None:
            return f"Invalid url [{value}] received for field [{name}]. Error: {reason}"
        if setting.choices and value not in setting.choices:
            choices = ", ".join(sorted(setting.choices))
            return f"Invalid value [{value}] received. [{name}] must be one of [{choices}]"
        return setting.check(value) if setting.check is not None else None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INT_MAX


def _url_problem(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected http://HOST… or https://HOST…"
    return None


def shown(values: Mapping[str, Any]) -> str:
    """Return what a message may show of unknown settings: an API key under a wrong name is still a secret."""
    return print_java(_redacted(values))


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _REDACTED if _is_secret(name, item) else _redacted(item) for name, item in value.items()
        }
    return [_redacted(item) for item in value] if isinstance(value, list) else value


def _is_secret(name: str, value: Any) -> bool:
    # Headers are told back to the client that sent them, as Elasticsearch does.
    return isinstance(value, str | dict | list) and name != "headers" and may_be_secret(name)


def unknown_settings(values: Mapping[str, Any], service: str) -> InferenceFailedError:
    """Return the refusal of settings that a service does not have (``ServiceUtils#throwIfNotEmptyMap``)."""
    reason = f"Configuration contains settings [{shown(values)}] unknown to the [{service}] service"
    return status_error(400, reason)
