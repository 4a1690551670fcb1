"""The interface of stores, which keep the endpoints that clients create."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rerank_proxy.errors import Cause
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """An endpoint as it was read last.

    Attributes:
        version: Tells this state from later ones; only its store understands it.
        failure: Why the endpoint is listed and cannot be used: its secrets cannot be decrypted, for example.
    """

    config: EndpointConfig
    version: Any = None
    failure: InferenceFailedError | None = None


class EndpointStore(Protocol):
    """Keeps endpoints. `all` returns what was read last, without waiting.

    Once `create`, `replace` or `delete` has returned, `all` shows the change.
    """

    @property
    def readable(self) -> bool:
        """Return whether it could be read the last time, with what had been read from it before."""

    async def start(self, changed: Callable[[], None]) -> None:
        """Read what is stored, and from then on follow what other processes change.

        Args:
            changed: Called whenever `all` returns something else than before.
        """

    async def close(self) -> None:
        """Stop following changes."""

    def all(self) -> Mapping[str, StoredEndpoint]:
        """Return what was read last, by id."""

    async def refresh(self) -> None:
        """Read again, so that `all` has everything that was written before this call.

        Raises:
            InferenceFailedError: The store cannot be read.
        """

    async def create(self, config: EndpointConfig) -> None:
        """Store a new endpoint.

        Raises:
            InferenceFailedError: 400, there is an endpoint of this id; or the store cannot be written.
        """

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        """Store another state of an endpoint.

        Raises:
            InferenceFailedError: 409, it is not at `version` any more; 404, it is gone; or the store cannot
                be written.
        """

    async def delete(self, inference_id: str, version: Any) -> None:
        """Delete an endpoint.

        Raises:
            InferenceFailedError: As `replace`.
        """


class ReadOnlyStore:
    """Stores nothing: there are only preconfigured endpoints."""

    readable = True

    async def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: nothing changes."""

    async def close(self) -> None:
        """Do nothing: nothing was started."""

    def all(self) -> Mapping[str, StoredEndpoint]:
        return {}

    async def refresh(self) -> None:
        """Do nothing: there is nothing to read."""

    async def create(self, config: EndpointConfig) -> None:
        raise _read_only()

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        raise _read_only()

    async def delete(self, inference_id: str, version: Any) -> None:
        raise _read_only()


def already_exists(inference_id: str) -> InferenceFailedError:
    """Return the failure of creating an endpoint whose id is taken."""
    reason = f"Inference endpoint [{inference_id}] already exists"
    return InferenceFailedError(400, Cause("resource_already_exists_exception", reason))


def changed_meanwhile(inference_id: str) -> InferenceFailedError:
    """Return the failure of a write that another one has overtaken."""
    return status_error(409, f"Inference endpoint [{inference_id}] was changed by another request; try again")


def _read_only() -> InferenceFailedError:
    return status_error(
        400,
        "the inference endpoints of this proxy are preconfigured in its settings (registry.store is [none]); "
        "change them there",
    )
