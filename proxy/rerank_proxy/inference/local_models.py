"""The models of this machine: which one a `model_id` names, and how one may be deployed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol

from rerank_proxy.settings import ModelSettings

ELASTIC_RERANK: Final = ".rerank-v1"

MAX_THREADS: Final = 32
NUMBER_AND_ADAPTIVE: Final = "[number_of_allocations] cannot be set if adaptive allocations is enabled"

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class StartedDeployment:
    """A started deployment of an uploaded model."""

    deployment_id: str
    model_id: str
    number_of_allocations: int
    threads_per_allocation: int


class UploadedModels(Protocol):
    """Models that clients have uploaded. The engine knows each by its `model_id`."""

    def has_model(self, model_id: str) -> bool:
        """Return whether there is a model of this id whose upload is complete."""

    def deployments(self) -> Mapping[str, StartedDeployment]:
        """Return the started deployments, by id."""


class LocalModels:
    """The models of the settings and the uploaded ones.

    A model of the settings has more than one id: its name, and those that Eland would give it
    (``elasticsearch_model_id``) by its name, its id on the hub, and the last parts of its directory. An exact
    name wins, then an uploaded model, then the first one in the settings.
    """

    def __init__(self, settings: Mapping[str, ModelSettings], uploaded: UploadedModels | None = None) -> None:
        self._settings = settings
        self._uploaded = uploaded
        self._by_id: dict[str, str] = {}
        for name, model in settings.items():
            for known_as in _names(name, model.source):
                self._by_id.setdefault(eland_id(known_as), name)

    def find(self, model_id: str) -> str | None:
        """Return the engine's name of a model; None when no model has this id."""
        if model_id in self._settings:
            return model_id
        if self._uploaded is not None and self._uploaded.has_model(model_id):
            return model_id
        return self._by_id.get(model_id)

    def deployment(self, deployment_id: str) -> StartedDeployment | None:
        return None if self._uploaded is None else self._uploaded.deployments().get(deployment_id)

    def is_deployed(self, inference_id: str) -> bool:
        """Return whether an id is that of a started deployment, or of the uploaded model that it deploys."""
        started = {} if self._uploaded is None else self._uploaded.deployments()
        return any(inference_id in (each.deployment_id, each.model_id) for each in started.values())


def eland_id(name: str) -> str:
    """Return the id that Eland gives a model of the hub, or of a directory."""
    return re.sub(r"[\s\\/]", "__", name).lower()[-_LONGEST_ID:].removeprefix("__")


def adaptive_faults(least: object, most: object) -> Iterator[str]:
    """Yield the faults of adaptive allocations (``AdaptiveAllocationsSettings#validate``).

    Args:
        least: The `min_number_of_allocations` as a client has given it; None if absent.
        most: The `max_number_of_allocations`.
    """
    if least is not None and not _is_int(least, 0):
        yield "[min_number_of_allocations] must be a non-negative integer or null"
    if most is not None and not _is_int(most, 1):
        yield "[max_number_of_allocations] must be a positive integer or null"
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield "[min_number_of_allocations] must not be larger than [max_number_of_allocations]"


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def threads_faults(threads: int) -> Iterator[str]:
    """Yield what is wrong with the threads per allocation of a deployment
    (``StartTrainedModelDeploymentAction.Request#validate``).
    """
    if threads > MAX_THREADS or threads.bit_count() != 1:
        yield f"[threads_per_allocation] must be a power of 2 less than or equal to {MAX_THREADS}"


def _names(name: str, source: str) -> Iterator[str]:
    yield name
    if _HUB_ID.fullmatch(source):
        yield source
    elif "://" not in source:
        parts = PurePosixPath(source).parts
        yield source
        yield "/".join(parts[-2:])
        yield parts[-1]
