"""What a service is: one way to get scores, from the models of this machine or from a vendor's API.

Built-in services are in `rerank_proxy.services`; others come from installed packages by the entry
point `rerank_proxy.services`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from rerank_proxy.chunks.settings import MAX_CHARACTERS, default_window_words
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.engine import Engine, Scores
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import invalid_settings, status_error
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest, rank_texts
from rerank_proxy.inference.service_settings import (
    SERVICE_SETTINGS,
    TASK_SETTINGS,
    Setting,
    SettingKind,
    SettingsReader,
    shown,
    unknown_settings,
)

RATE_LIMIT: Final = "rate_limit"
_REQUESTS_PER_MINUTE: Final = Setting(
    name="requests_per_minute",
    kind=SettingKind.POSITIVE_INT,
    label="Rate Limit",
    description="Minimize the number of rate limit errors.",
    updatable=True,
)
_RETURN_DOCUMENTS: Final = "return_documents"


class Ranker(ABC):
    """Scores texts for one endpoint: a service with the settings of that endpoint."""

    model: str
    """The id of the model that scores, to be shown to people."""

    @abstractmethod
    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Return a raw relevance score for each text, in input order.

        Raises:
            InferenceFailedError: With the status and cause that Elasticsearch would give.
        """

    async def rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]:
        """Return the results of a call of the `_inference` API, in the order in which clients get them.

        Override it where the service has an order, a `top_n` or texts of its own; else results are ordered by
        `scores`.

        Args:
            request: Completed by `Service.complete`.

        Raises:
            InferenceFailedError: As `scores`.
        """
        scores = await self.scores(request.query, request.texts, deadline)
        return await offload(docs_size(request.texts), rank_texts, request, scores.values)

    async def check(self, deadline: Deadline) -> None:  # noqa: B027 (most rankers have nothing to check)
        """Find out whether the endpoint works, before it is stored or changed.

        Raises:
            InferenceFailedError: It does not.
        """

    async def start(self, deadline: Deadline) -> None:  # noqa: B027
        """Make the endpoint ready for calls, after it was stored.

        Raises:
            InferenceFailedError: 408, it needs longer and stays stored; any other: it cannot work.
        """

    async def close(self) -> None:  # noqa: B027
        """Let go of what the endpoint holds, once it is deleted or has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """Dependencies that all services share.

    Attributes:
        engine: The models of this machine, by the names that `models` finds for ids.
        chunked_characters: How many characters of a text are split into chunks.
    """

    engine: Engine
    models: LocalModels
    chunked_characters: int = MAX_CHARACTERS


class Service(ABC):
    """One service. All endpoints share its one instance, which keeps no state of any of them.

    The tables of settings are all that most services need to say about their configuration; `check_settings`
    is for rules between settings.
    """

    name: ClassVar[str]
    """The value of `service` in Elasticsearch's API."""
    label: ClassVar[str]
    """The name that people are shown."""
    service_settings: ClassVar[Sequence[Setting]] = ()
    task_settings: ClassVar[Sequence[Setting]] = ()
    any_task_settings: ClassVar[bool] = False
    """Whether task settings that are not in the table are taken as they are, for the service to check."""
    requests_per_minute: ClassVar[int | None] = None
    """Default of the `rate_limit` setting; None for services without it."""
    top_n_setting: ClassVar[str | None] = "top_n"
    """The task setting that limits the number of results."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context

    @abstractmethod
    def open(self, config: EndpointConfig) -> Ranker:
        """Return what scores for an endpoint."""

    def settings_for(self, service_settings: Mapping[str, Any]) -> Sequence[Setting]:
        """Return the table for one endpoint, where it depends on what the endpoint's settings say."""
        return self.service_settings

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        """Check rules between settings, and return the configuration, completed where need be.

        Args:
            faults: Takes the messages for the ``ValidationException``.
        """
        return config

    def parse(
        self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        """Read the configuration of a new endpoint from the objects of its request.

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
        """Return the configuration with some settings changed; those of the request win.

        Raises:
            InferenceFailedError: 400; as `parse`, or a setting that cannot be changed.
        """
        unchangeable = {
            setting.name: service_settings[setting.name]
            for setting in self.settings_for(config.service_settings)
            if setting.name in service_settings and not setting.updatable
        }
        if unchangeable:
            raise status_error(
                400,
                "Request contained fields which cannot be updated, remove these fields and try again "
                f"[{shown(unchangeable)}]",
            )
        merged_service = {**config.service_settings, **config.secrets, **_without_nulls(service_settings)}
        merged_task = {**config.task_settings, **_without_nulls(task_settings)}
        updated = self.parse(config.inference_id, merged_service, merged_task)
        return replace(updated, internal=config.internal)

    def complete(self, config: EndpointConfig, request: RerankRequest) -> RerankRequest:
        """Return a request completed by the endpoint's task settings. Those of the request are laid over
        them.

        Raises:
            InferenceFailedError: 400; a task setting is bad or unknown.
        """
        values = {**config.task_settings, **self._requested_task_settings(request)}
        top_n, returns = request.top_n, request.return_documents
        return replace(
            request,
            top_n=self.top_n(replace(config, task_settings=values)) if top_n is None else top_n,
            return_documents=values.get(_RETURN_DOCUMENTS) if returns is None else returns,
            task_settings=values,
        )

    def top_n(self, config: EndpointConfig) -> int | None:
        """Return the most results that the endpoint is configured to give; None for no limit."""
        return config.task_settings.get(self.top_n_setting) if self.top_n_setting else None

    def window_words(self, config: EndpointConfig) -> int:
        """Return roughly how many words of a text the endpoint's model reads."""
        return default_window_words(self.name, config.service_settings.get("model_id"))

    def configurations(self) -> dict[str, Any]:
        """Return its settings as the catalogue of services shows them (``SettingsConfiguration``)."""
        rows = {setting.name: setting for setting in self.service_settings if not setting.dropped}
        if self.requests_per_minute is not None:
            rows[f"{RATE_LIMIT}.{_REQUESTS_PER_MINUTE.name}"] = _REQUESTS_PER_MINUTE
        return {name: _catalogue_row(setting) for name, setting in rows.items()}

    def _requested_task_settings(self, request: RerankRequest) -> dict[str, Any]:
        faults: list[str] = []
        reader = SettingsReader(TASK_SETTINGS, request.task_settings, faults)
        values = self._read_task_settings(reader, partial=True)
        if faults:
            raise invalid_settings(faults)
        if reader.rest():
            raise unknown_settings(reader.rest(), self.name)
        return values

    def _read_task_settings(self, reader: SettingsReader, *, partial: bool = False) -> dict[str, Any]:
        values = reader.read(self.task_settings, partial=partial)
        return {**values, **reader.take_rest()} if self.any_task_settings else values

    def _read_service_settings(
        self, reader: SettingsReader, table: Sequence[Setting], faults: list[str]
    ) -> dict[str, Any]:
        values = reader.read(table)
        if self.requests_per_minute is not None:
            (limit,) = reader.read([Setting(name=RATE_LIMIT, kind=SettingKind.MAP, default={})]).values() or (
                {},
            )
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
