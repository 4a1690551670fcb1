"""What services are written with: with `rerank_proxy.backends` the public surface for plug-ins.

The names of these two modules are documented one by one in docs/plug-ins.md and versioned with the package:
what changes in them is announced in CHANGELOG.md. All other modules are private, and may change at any time.
So may the modules of this package, the built-in services, which are written with the same names.
"""

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import Scores
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest
from rerank_proxy.inference.remote.calls import HttpCall, bearer, form_call, json_call
from rerank_proxy.inference.remote.client import digest
from rerank_proxy.inference.remote.common_settings import API_KEY, MODEL_ID, RETURN_DOCUMENTS, TOP_N, URL
from rerank_proxy.inference.remote.service import RemoteService
from rerank_proxy.inference.remote.shapes import MalformedAnswerError, Shape
from rerank_proxy.inference.service import Ranker, Service
from rerank_proxy.inference.service_settings import Setting, SettingKind

__all__ = [
    "API_KEY",
    "MODEL_ID",
    "RETURN_DOCUMENTS",
    "TOP_N",
    "URL",
    "Deadline",
    "EndpointConfig",
    "HttpCall",
    "InferenceFailedError",
    "MalformedAnswerError",
    "RankedDoc",
    "Ranker",
    "RemoteService",
    "RerankRequest",
    "Scores",
    "Service",
    "Setting",
    "SettingKind",
    "Shape",
    "bearer",
    "digest",
    "form_call",
    "json_call",
    "status_error",
]
