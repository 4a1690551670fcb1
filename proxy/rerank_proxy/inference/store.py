"""Where endpoints are kept: the seam between the registry and its stores."""

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
        version: What tells this state from later ones; only its store understands it.
        failure: Why it cannot be used though it is there, such as secrets that cannot be decrypted.
    """

    config: EndpointConfig
    version: Any = None
    failure: InferenceFailedError | None = None


class EndpointStore(Protocol):
    """Keeps endpoints. What was read last can be had without waiting; writing waits.

    Once `create`, `replace` or `delete` has returned, `all` shows it.
    """

    async def start(self, changed: Callable[[], None]) -> None:
        """Read what is there, and go on noticing what others change.

        Args:
            changed: Called whenever `all` gives something else than before.
        """

    async def close(self) -> None:
        """Stop noticing."""

    def all(self) -> Mapping[str, StoredEndpoint]:
        """What was read last, by id."""

    async def refresh(self) -> None:
        """Read again, so that `all` has what anybody wrote before this call.

        Raises:
            InferenceFailedError: The store cannot be read.
        """

    async def create(self, config: EndpointConfig) -> None:
        """Keep a new endpoint.

        Raises:
            InferenceFailedError: 400, there is one of this id; or the store cannot be written.
        """

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        """Keep another state of an endpoint.

        Raises:
            InferenceFailedError: 409, it is not at `version` any more; 404, it is gone; or the store cannot
                be written.
        """

    async def delete(self, inference_id: str, version: Any) -> None:
        """Keep it no longer.

        Raises:
            InferenceFailedError: As `replace`.
        """


class ReadOnlyStore:
    """Keeps nothing: the endpoints of the settings are all there are."""

    async def start(self, changed: Callable[[], None]) -> None:
        """Nothing changes."""

    async def close(self) -> None:
        """Nothing to stop."""

    def all(self) -> Mapping[str, StoredEndpoint]:
        return {}

    async def refresh(self) -> None:
        """Nothing to read."""

    async def create(self, config: EndpointConfig) -> None:
        raise _read_only()

    async def replace(self, config: EndpointConfig, version: Any) -> None:
        raise _read_only()

    async def delete(self, inference_id: str, version: Any) -> None:
        raise _read_only()


def already_exists(inference_id: str) -> InferenceFailedError:
    reason = f"Inference endpoint [{inference_id}] already exists"
    return InferenceFailedError(400, Cause("resource_already_exists_exception", reason))


def changed_meanwhile(inference_id: str) -> InferenceFailedError:
    return status_error(409, f"Inference endpoint [{inference_id}] was changed by another request; try again")


def _read_only() -> InferenceFailedError:
    return status_error(
        400,
        "the inference endpoints of this proxy are fixed in its settings (registry.store is [none]); change "
        "them there",
    )
