"""The services that are built in, and how those of other packages are found."""

from importlib.metadata import entry_points
from typing import Final

from proxy.inference.service import Service, ServiceContext
from proxy.inference.services.elasticsearch import ElasticsearchService

ENTRY_POINTS: Final = "rerank_proxy.services"

BUILT_IN: Final[tuple[type[Service], ...]] = (ElasticsearchService,)


def load_services(context: ServiceContext) -> dict[str, Service]:
    """Every service by name; one of an installed package may not take the name of a built-in one.

    Raises:
        PluginError: A package's entry point cannot be used.
    """
    services = {service.name: service(context) for service in BUILT_IN}
    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist is not None else "a package"
        try:
            service = entry.load()
        except Exception as error:  # Importing somebody's package may raise anything.
            raise PluginError(f"service [{entry.name}] of [{package}] cannot be imported: {error}") from error
        if not (isinstance(service, type) and issubclass(service, Service)):
            raise PluginError(
                f"service [{entry.name}] of [{package}]: [{entry.value}] is no class derived from "
                "proxy.inference.service.Service"
            )
        if service.name in services:
            raise PluginError(f"service [{service.name}] of [{package}] has the name of another service")
        services[service.name] = service(context)
    return services


class PluginError(Exception):
    """A service of another package cannot be used. The message is one line for people."""
