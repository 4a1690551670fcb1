"""The services that are built in, and how those of other packages are found."""

from importlib.metadata import entry_points
from typing import Final

from rerank_proxy.inference.remote.vendor import RemoteContext
from rerank_proxy.inference.service import Service
from rerank_proxy.services.alibabacloud_ai_search import AlibabaCloudAISearchService
from rerank_proxy.services.amazon_sagemaker import AmazonSageMakerService
from rerank_proxy.services.azureaistudio import AzureAIStudioService
from rerank_proxy.services.cohere import CohereService
from rerank_proxy.services.contextualai import ContextualAIService
from rerank_proxy.services.custom import CustomService
from rerank_proxy.services.elasticsearch import ElasticsearchService
from rerank_proxy.services.googlevertexai import GoogleVertexAIService
from rerank_proxy.services.hugging_face import HuggingFaceService
from rerank_proxy.services.jinaai import JinaAIService
from rerank_proxy.services.mixedbread import MixedbreadService
from rerank_proxy.services.nvidia import NvidiaService
from rerank_proxy.services.openshift_ai import OpenShiftAIService
from rerank_proxy.services.voyageai import VoyageAIService
from rerank_proxy.services.watsonxai import WatsonxAIService

ENTRY_POINTS: Final = "rerank_proxy.services"

BUILT_IN: Final[tuple[type[Service], ...]] = (
    ElasticsearchService,
    CohereService,
    JinaAIService,
    VoyageAIService,
    GoogleVertexAIService,
    HuggingFaceService,
    AzureAIStudioService,
    AlibabaCloudAISearchService,
    WatsonxAIService,
    NvidiaService,
    OpenShiftAIService,
    ContextualAIService,
    MixedbreadService,
    AmazonSageMakerService,
    CustomService,
)


def load_services(context: RemoteContext) -> dict[str, Service]:
    """Return every service by name. One of an installed package may not take the name of a built-in one.

    Raises:
        PluginError: A package's entry point cannot be used.
    """
    services = {service.name: service(context) for service in BUILT_IN}
    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist is not None else "a package"
        try:
            service = entry.load()
        except Exception as error:  # importing a package may raise anything.
            raise PluginError(f"service [{entry.name}] of [{package}] cannot be imported: {error}") from error
        if not (isinstance(service, type) and issubclass(service, Service)):
            raise PluginError(
                f"service [{entry.name}] of [{package}]: [{entry.value}] is not a class derived from "
                "rerank_proxy.services.Service"
            )
        if service.name in services:
            raise PluginError(f"service [{service.name}] of [{package}] has the name of another service")
        services[service.name] = service(context)
    return services


class PluginError(Exception):
    """A service of another package cannot be used. The message is one line for people."""
