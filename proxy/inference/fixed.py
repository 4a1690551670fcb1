"""The endpoints that no request can change: those of the settings, and the preconfigured one."""

from collections.abc import Mapping

from proxy.inference.configuration import EndpointConfig
from proxy.inference.endpoints import DEFAULT_ENDPOINT
from proxy.inference.failures import InferenceFailedError
from proxy.inference.local_models import ELASTIC_RERANK, LocalModels
from proxy.inference.service import Service
from proxy.inference.services.elasticsearch import settings_of_model
from proxy.settings import EndpointSettings, InvalidSettingsError


def fixed_endpoints(
    services: Mapping[str, Service], settings: Mapping[str, EndpointSettings], models: LocalModels
) -> list[EndpointConfig]:
    """The endpoints of the settings, read as a `PUT _inference` would be. Where Elastic Rerank is among the
    models, its endpoint is there without being named.

    Raises:
        InvalidSettingsError: One line that names the endpoint and what is wrong with it.
    """
    if DEFAULT_ENDPOINT not in settings and models.find(ELASTIC_RERANK) is not None:
        settings = {DEFAULT_ENDPOINT: EndpointSettings(model=ELASTIC_RERANK), **settings}
    return [_fixed(services, inference_id, each) for inference_id, each in settings.items()]


def _fixed(services: Mapping[str, Service], inference_id: str, settings: EndpointSettings) -> EndpointConfig:
    service = services.get(settings.service)
    if service is None:
        known = ", ".join(sorted(services))
        raise InvalidSettingsError(
            f"[endpoints.{inference_id}.service]: unknown service [{settings.service}]; known: {known}"
        )
    service_settings = settings.service_settings
    if settings.model is not None:
        service_settings = settings_of_model(settings.model)
    try:
        return service.parse(inference_id, service_settings, settings.task_settings)
    except InferenceFailedError as failure:
        raise InvalidSettingsError(f"[endpoints.{inference_id}]: {failure}") from None
