"""Endpoints whose service is another server: what all of these services share.

`RemoteService` is the class to derive from, here and in other packages.
"""

from proxy.inference.remote.calls import HttpCall, RemoteCall, form_call, json_call
from proxy.inference.remote.client import RemoteClient
from proxy.inference.remote.service import RemoteService
from proxy.inference.remote.shapes import MalformedAnswerError, Shape
from proxy.inference.remote.tables import (
    API_KEY,
    MODEL_ID,
    RETURN_DOCUMENTS,
    TOP_N,
    URL,
)

__all__ = [
    "API_KEY",
    "MODEL_ID",
    "RETURN_DOCUMENTS",
    "TOP_N",
    "URL",
    "HttpCall",
    "MalformedAnswerError",
    "RemoteCall",
    "RemoteClient",
    "RemoteService",
    "Shape",
    "form_call",
    "json_call",
]
