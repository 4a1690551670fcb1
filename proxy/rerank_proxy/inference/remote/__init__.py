"""Endpoints whose service is another server: what all of these services share.

`RemoteService` is the class to derive from, here and in other packages.
"""

from rerank_proxy.inference.remote.calls import HttpCall, RemoteCall, bearer, form_call, json_call
from rerank_proxy.inference.remote.client import RemoteClient, digest
from rerank_proxy.inference.remote.common_settings import API_KEY, MODEL_ID, RETURN_DOCUMENTS, TOP_N, URL
from rerank_proxy.inference.remote.sending import fetch_token
from rerank_proxy.inference.remote.service import RemoteService
from rerank_proxy.inference.remote.shapes import MalformedAnswerError, Shape

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
