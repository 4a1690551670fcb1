"""Endpoints whose service is another server: what all of these services share.

`RemoteService` is the class to derive from, here and in other packages.
"""

from proxy.inference.remote.calls import HttpCall, RemoteCall, bearer, form_call, json_call
from proxy.inference.remote.client import RemoteClient, digest
from proxy.inference.remote.exchange import fetch_token
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
    "bearer",
    "digest",
    "fetch_token",
    "form_call",
    "json_call",
]
