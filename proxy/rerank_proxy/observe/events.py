"""Events: records of the log that say what has happened in fields, too, by which they can be searched."""

from typing import Any, Final, Literal

NAMESPACE: Final = "rerank_proxy"
"""What the names of fields begin with that the Elastic Common Schema does not have."""

SERVICE: Final = "rerank-proxy"
ECS_VERSION: Final = "1.6.0"
"""Of the Elastic Common Schema, as the library has it that formats records."""

LOG: Final = f"{NAMESPACE}.log"
ACCESS: Final = f"{NAMESPACE}.access"
SLOW: Final = f"{NAMESPACE}.slow"
STDERR: Final = f"{NAMESPACE}.stderr"
"""The datasets: what the processes say, requests, slow searches, and what is said past the log."""

Category = Literal["configuration", "database", "iam", "network", "process", "web"]
"""Of the values that the Elastic Common Schema allows for `event.category`, those that are used."""


def event(action: str, category: Category, *, failed: bool = False, **fields: Any) -> dict[str, Any]:
    """Return fields for the `extra` of a record.

    Args:
        action: What has happened, as `event.action`; words with hyphens.
        failed: Whether it is a failure.
        fields: Further ones, by names below `rerank_proxy`; those that are None are left out.
    """
    named = {f"{NAMESPACE}.{name}": value for name, value in fields.items() if value is not None}
    return {
        "event.action": action,
        "event.category": [category],
        "event.outcome": "failure" if failed else "success",
        **named,
    }
