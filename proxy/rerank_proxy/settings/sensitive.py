"""Which settings of a service may be secrets, by their names: what one calls a secret, it alone knows."""

import re
from typing import Final

_SENSITIVE: Final = re.compile(
    "key|secret|token|passw|pwd|credential|account|auth|bearer|signature|header", re.IGNORECASE
)


def may_be_secret(name: str) -> bool:
    """Tell whether a setting may be a secret. One that names the file of a secret is none."""
    return _SENSITIVE.search(name) is not None and not name.endswith("_file")


_HARMLESS: Final = frozenset(
    [
        "adaptive_allocations",
        "api",
        "api_version",
        "deployment_id",
        "endpoint_name",
        "endpoint_type",
        "host",
        "http_schema",
        "inference_component_name",
        "instruction",
        "location",
        "model",
        "model_id",
        "project_id",
        "provider",
        "rate_limit",
        "region",
        "service_id",
        "similarity",
        "strategy",
        "target",
        "target_container_hostname",
        "target_model",
        "truncate",
        "uri",
        "url",
        "workspace",
    ]
)
_URL_WITH_MORE: Final = re.compile(r"://[^?#]*@|://.*[?#]", re.DOTALL)


def is_harmless(name: str) -> bool:
    """Tell whether a setting is known to hold no secret: one with any other name may hold one, be it because
    the name is misspelt.
    """
    return name in _HARMLESS or name.endswith("_file")


def may_hold_secret(text: str) -> bool:
    """Tell whether a text is a URL with credentials or a query, in which some services expect a key."""
    return _URL_WITH_MORE.search(text) is not None
