"""Texts that are broken into words at once."""

from rerank_proxy.chunks.words import Words, WordStatus
from tests.support.steps import finish


def read(text: str, status: WordStatus | None = None) -> Words:
    return finish(Words.read(text, status))
