"""Metrics of the inference endpoints, and of the registry that holds those of clients."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge


class EndpointMetrics:
    """Shows how many endpoints there are, and whether their registry can be read.

    Args:
        readable: Returns whether it could be read the last time.
        usable, unusable: Return the number of endpoints that can, and cannot, be called.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        readable: Callable[[], bool],
        usable: Callable[[], float],
        unusable: Callable[[], float],
    ) -> None:
        endpoints = Gauge(
            "rerank_proxy_inference_endpoints",
            "Inference endpoints by state: usable, unusable.",
            ["state"],
            registry=registry,
        )
        endpoints.labels("usable").set_function(usable)
        endpoints.labels("unusable").set_function(unusable)
        Gauge(
            "rerank_proxy_registry_readable",
            "1 while the registry of inference endpoints can be read.",
            registry=registry,
        ).set_function(lambda: float(readable()))
