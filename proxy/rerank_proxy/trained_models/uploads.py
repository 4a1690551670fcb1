"""Models that are being uploaded: the limits on them, and which one makes room for another."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from rerank_proxy.errors import rejected
from rerank_proxy.settings import TrainedModelsSettings
from rerank_proxy.trained_models.definition import PartialDefinition
from rerank_proxy.trained_models.failures import conflict
from rerank_proxy.trained_models.model_config import TrainedModelConfig


class Evictable(Protocol):
    """The part of an upload by which the one that makes room for another is chosen.

    Attributes:
        owner: Identifies the caller who began it.
        active_at: When the last piece of it arrived, in seconds.
        busy: Whether a piece of it is being written.
    """

    owner: bytes
    active_at: float

    @property
    def busy(self) -> bool: ...


E = TypeVar("E", bound=Evictable)


def choose_evicted(uploads: Iterable[E], caller: bytes, now: float, idle_s: float) -> E | None:
    """Return the upload that makes room for one of `caller`: the one that has been idle longest.

    An upload that is not idle yet is evicted only for a caller who has none, and only if its owner has
    several: so no caller can keep another out.
    """
    uploads = list(uploads)
    owned = Counter(each.owner for each in uploads)
    quiet = sorted((each for each in uploads if not each.busy), key=lambda each: each.active_at)
    abandoned = [each for each in quiet if now - each.active_at >= idle_s]
    greedy = [each for each in quiet if owned[each.owner] > 1 and owned[caller] == 0]
    return next(iter([*abandoned, *greedy]), None)


@dataclass(slots=True)
class Upload:
    """A model that is being uploaded. Hold `lock` to change it, and then check `gone` first.

    Attributes:
        owner: Identifies the caller who began it.
        active_at: When the last piece of it arrived, in seconds.
        reserved: Bytes of its program, as announced by its parts.
        gone: True once it is complete or has been removed.
    """

    config: TrainedModelConfig
    definition: PartialDefinition
    owner: bytes
    active_at: float
    reserved: int = 0
    has_vocabulary: bool = False
    gone: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self.lock.locked()

    @property
    def complete(self) -> bool:
        return self.has_vocabulary and self.definition.complete

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Uploads(Mapping[str, Upload]):
    """All uploads by the id of their model. Belongs to the event loop that begins them.

    Args:
        clock: In seconds.
        on_stalled: Called with an upload for which nothing arrived in `trained_models.upload_timeout_s`.
    """

    def __init__(
        self,
        settings: TrainedModelsSettings,
        clock: Callable[[], float],
        on_stalled: Callable[[Upload], object],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_stalled = on_stalled
        self._uploads: dict[str, Upload] = {}

    def __getitem__(self, model_id: str) -> Upload:
        return self._uploads[model_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._uploads)

    def __len__(self) -> int:
        return len(self._uploads)

    def begin(self, config: TrainedModelConfig, definition: PartialDefinition, owner: bytes) -> None:
        upload = Upload(config, definition, owner, self._clock())
        self._uploads[config.model_id] = upload
        self.wait_for_more(upload)

    def evicted_for(self, owner: bytes, complete: int) -> Upload | None:
        """Return the upload that has to make room for a further one; None if there is room for both.

        Args:
            complete: The number of models that are uploaded completely.

        Raises:
            ElasticsearchError: There is no room, and none can be made.
        """
        settings = self._settings
        full = complete + len(self) >= settings.max_models
        if not full and len(self) < settings.max_uploads:
            return None
        evicted = choose_evicted(self.values(), owner, self._clock(), settings.upload_idle_s)
        if evicted is not None:
            return evicted
        if full:
            raise conflict(
                f"there are [{settings.max_models}] uploaded models, as many as [trained_models.max_models] "
                "allows; please delete unused ones"
            )
        raise rejected(
            f"[{settings.max_uploads}] models are being uploaded, as many as [trained_models.max_uploads] "
            "allows; try again when one of them is complete"
        )

    def reserve(self, upload: Upload, size: int, complete_size: int) -> None:
        """Reserve the announced size of a program, so that no upload fails half way because of another.

        Args:
            complete_size: Bytes of the programs that are uploaded completely.

        Raises:
            ElasticsearchError: 409, all programs together would be too large.
        """
        others = sum(each.reserved for each in self.values() if each is not upload)
        total = complete_size + others + size
        if total > self._settings.max_total_size:
            raise conflict(
                f"[{upload.config.model_id}] would bring the uploaded models to [{total}] bytes, more than "
                f"the [{self._settings.max_total_size}] that [trained_models.max_total_size] allows; please "
                "delete unused ones"
            )
        upload.reserved = size

    def note_progress(self, upload: Upload) -> None:
        """Note that a piece of an upload has arrived, and stop waiting for it."""
        upload.stop_timer()
        upload.active_at = self._clock()

    def wait_for_more(self, upload: Upload) -> None:
        """Wait for the next piece of an upload, until it counts as stalled."""
        loop = asyncio.get_running_loop()
        upload.timer = loop.call_later(self._settings.upload_timeout_s, self._on_stalled, upload)

    def remove(self, upload: Upload) -> None:
        upload.stop_timer()
        upload.gone = True
        del self._uploads[upload.config.model_id]

    def stop_timers(self) -> None:
        for upload in self.values():
            upload.stop_timer()
