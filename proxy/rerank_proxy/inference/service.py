"""The seam between inference endpoints and what serves them.

A service is one way to get scores: the models of this machine, or a vendor's API. Built-in ones are in
`rerank_proxy.inference.services`; others come from installed packages by the entry point
`rerank_proxy.services`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from rerank_proxy.chunks.settings import MAX_CHARACTERS, default_window_words
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import Engine
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import invalid_settings, status_error
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.ranking import Ranking, RerankInput
from rerank_proxy.inference.service_settings import (
    SERVICE_SETTINGS,
    TASK_SETTINGS,
    Kind,
    Setting,
    SettingsReader,
    shown,
    unknown_settings,
)

if TYPE_CHECKING:
    from rerank_proxy.inference.remote.client import RemoteClient

RATE_LIMIT: Final = "rate_limit"
_REQUESTS_PER_MINUTE: Final = Setting(
    name="requests_per_minute",
    kind=Kind.POSITIVE_INT,
    label="Rate Limit",
    description="Minimize the number of rate limit errors.",
    updatable=True,
)


class Ranker(Protocol):
    """An endpoint that can be asked: a service with the settings of one endpoint."""

    @property
    def model(self) -> str:
        """What scores, for people: the id of a model."""

    async def rank(self, request: RerankInput, deadline: Deadline) -> Ranking:
        """Score the texts.

        Raises:
            InferenceFailedError: With the status and cause that Elasticsearch would give.
        """

    async def check(self, deadline: Deadline) -> None:
        """Find out whether it works, before an endpoint is stored or changed.

        Raises:
            InferenceFailedError: It does not.
        """

    async def start(self, deadline: Deadline) -> None:
        """Get it going, after it was stored.

        Raises:
            InferenceFailedError: 408, it needs longer and stays stored; any other: it cannot work.
        """

    async def close(self) -> None:
        """The endpoint is gone or has changed."""


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What services are made of.

    Attributes:
        engine: The models of this machine, by the names that `models` finds for ids.
        timeout_s: Seconds that a search gives its scores: who had about as many and got none was patient.
        remote: The way to other servers.
        chunked_characters: How much of a text is looked at for chunks.
    """

    engine: Engine
    models: LocalModels
    timeout_s: float
    remote: "RemoteClient"
    chunked_characters: int = MAX_CHARACTERS


class Service(ABC):
    """One service. Instances are shared by all endpoints and keep nothing of any of them.

    The tables of settings are all that most services need to say about their configuration; `check_settings`
    is for rules between settings.
    """

    name: ClassVar[str]
    """Its `service` in Elasticsearch's API."""
    label: ClassVar[str]
    """For people."""
    service_settings: ClassVar[Sequence[Setting]] = ()
    task_settings: ClassVar[Sequence[Setting]] = ()
    any_task_settings: ClassVar[bool] = False
    """Whether the task's settings beyond the table are the service's own business, and taken as they are."""
    requests_per_minute: ClassVar[int | None] = None
    """Default of the `rate_limit` setting; None for services without it."""
    top_n_setting: ClassVar[str | None] = "top_n"
    """The task setting that limits the number of results."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context

    @abstractmethod
    def open(self, config: EndpointConfig) -> Ranker:
        """An endpoint that can be asked."""

    def settings_for(self, service_settings: Mapping[str, Any]) -> Sequence[Setting]:
        """The table for one endpoint, where it depends on what the endpoint's settings say."""
        return self.service_settings

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        """Rules between settings; may complete the configuration.

        Args:
            faults: Where messages for the ``ValidationException`` go.
        """
        return config

    def parse(
        self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        """The configuration of a new endpoint from the objects of its request.

        Raises:
            InferenceFailedError: 400; a setting is absent, bad or unknown.
        """
        faults: list[str] = []
        service_reader = SettingsReader(SERVICE_SETTINGS, service_settings, faults)
        task_reader = SettingsReader(TASK_SETTINGS, task_settings, faults)
        table = self.settings_for(service_settings)
        values = self._read_service_settings(service_reader, table, faults)
        config = self._config(inference_id, values, self._read_task_settings(task_reader))
        config = self.check_settings(config, faults)
        if faults:
            raise invalid_settings(faults)
        for reader in (service_reader, task_reader):
            if reader.rest():
                raise unknown_settings(reader.rest(), self.name)
        return config

    def update(
        self,
        config: EndpointConfig,
        service_settings: Mapping[str, Any],
        task_settings: Mapping[str, Any],
    ) -> EndpointConfig:
        """The configuration with some settings changed; those of the request win.

        Raises:
            InferenceFailedError: 400; as `parse`, or a setting that cannot be changed.
        """
        fixed = {
            setting.name: service_settings[setting.name]
            for setting in self.settings_for(config.service_settings)
            if setting.name in service_settings and not setting.updatable
        }
        if fixed:
            raise status_error(
                400,
                "Request contained fields which cannot be updated, remove these fields and try again "
                f"[{shown(fixed)}]",
            )
        merged_service = {**config.service_settings, **config.secrets, **_without_nulls(service_settings)}
        merged_task = {**config.task_settings, **_without_nulls(task_settings)}
        updated = self.parse(config.inference_id, merged_service, merged_task)
        return replace(updated, internal=config.internal)

    def request_task_settings(
        self, config: EndpointConfig, task_settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The endpoint's task settings with those of one request laid over them.

        Raises:
            InferenceFailedError: 400; one is bad or unknown.
        """
        faults: list[str] = []
        reader = SettingsReader(TASK_SETTINGS, task_settings, faults)
        values = self._read_task_settings(reader, partial=True)
        if faults:
            raise invalid_settings(faults)
        if reader.rest():
            raise unknown_settings(reader.rest(), self.name)
        return {**config.task_settings, **values}

    def top_n(self, config: EndpointConfig) -> int | None:
        """The most results that the endpoint is configured to give."""
        return config.task_settings.get(self.top_n_setting) if self.top_n_setting else None

    def window_words(self, config: EndpointConfig) -> int:
        """How many words of a text the endpoint's model reads, roughly."""
        return default_window_words(self.name, config.service_settings.get("model_id"))

    def configurations(self) -> dict[str, Any]:
        """Its settings in the catalogue of services (``SettingsConfiguration``)."""
        rows = {setting.name: setting for setting in self.service_settings if not setting.dropped}
        if self.requests_per_minute is not None:
            rows[f"{RATE_LIMIT}.{_REQUESTS_PER_MINUTE.name}"] = _REQUESTS_PER_MINUTE
        return {name: _catalogue_row(setting) for name, setting in rows.items()}

    def _read_task_settings(self, reader: SettingsReader, *, partial: bool = False) -> dict[str, Any]:
        values = reader.read(self.task_settings, partial=partial)
        return {**values, **reader.take_rest()} if self.any_task_settings else values

    def _read_service_settings(
        self, reader: SettingsReader, table: Sequence[Setting], faults: list[str]
    ) -> dict[str, Any]:
        values = reader.read(table)
        if self.requests_per_minute is not None:
            (limit,) = reader.read([Setting(name=RATE_LIMIT, kind=Kind.MAP, default={})]).values() or ({},)
            inner = SettingsReader(f"{SERVICE_SETTINGS}.{RATE_LIMIT}", limit, faults)
            values[RATE_LIMIT] = {
                _REQUESTS_PER_MINUTE.name: self.requests_per_minute,
                **inner.read([_REQUESTS_PER_MINUTE]),
            }
            if inner.rest():
                raise unknown_settings(inner.rest(), self.name)
        return values

    def _config(
        self, inference_id: str, values: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        secret = {setting.name for setting in self.service_settings if setting.secret}
        return EndpointConfig(
            inference_id=inference_id,
            service=self.name,
            service_settings={name: value for name, value in values.items() if name not in secret},
            task_settings=task_settings,
            secrets={name: value for name, value in values.items() if name in secret},
        )


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _catalogue_row(setting: Setting) -> dict[str, Any]:
    row = {
        "description": setting.description,
        "label": setting.label,
        "required": setting.required,
        "sensitive": setting.secret,
        "updatable": setting.updatable,
        "type": setting.kind.catalogue_type,
        "supported_task_types": ["rerank"],
    }
    if setting.default is not None:
        row["default_value"] = setting.default
    return row
