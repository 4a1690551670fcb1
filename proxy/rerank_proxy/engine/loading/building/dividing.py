"""Whether and how a model's texts are divided into windows: its settings, and what contradicts them."""

from typing import Final

from rerank_proxy.engine.encoding.windows import Division
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.settings import ModelSettings

_OVERLAP_SHARE: Final = 8
"""By default windows share an eighth of the model's limit: 64 of 512 tokens."""

_MOST_WINDOWS: Final = 32
"""Windows of a text, if the settings say nothing."""


def division(settings: ModelSettings, max_length: int) -> Division | None:
    """Return how long texts are divided; None if they are cut.

    Args:
        max_length: The most tokens of a row.

    Raises:
        ModelLoadError: Settings that contradict one another.
    """
    if settings.windows is None:
        for name in ("window_overlap", "max_windows"):
            if getattr(settings, name) is not None:
                raise ModelLoadError(
                    f"[{settings.source}] has [{name}] without [windows]: remove it, or set [windows]"
                )
        return None
    if settings.truncation not in (None, "balanced"):
        raise ModelLoadError(
            f"[{settings.source}] divides texts that are too long ([windows]), so its [truncation] "
            f"[{settings.truncation}] has nothing to cut: remove one of the two"
        )
    overlap = max_length // _OVERLAP_SHARE if settings.window_overlap is None else settings.window_overlap
    if overlap > max_length // 2:
        raise ModelLoadError(
            f"[{settings.source}]: [window_overlap] {overlap} is more than half of the {max_length} tokens "
            "that a window has with its query: use a smaller one"
        )
    return Division(overlap, settings.max_windows or _MOST_WINDOWS)


def refuse_windows(settings: ModelSettings, why: str) -> None:
    """Refuse to divide the texts of a model for which this is not supported.

    Raises:
        ModelLoadError: Its settings ask for it.
    """
    if settings.windows is not None:
        raise ModelLoadError(f"[{settings.source}] {why}: remove its [windows]")
