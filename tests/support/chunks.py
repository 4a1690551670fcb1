"""Texts that are broken into words at once."""

from rerank_proxy.chunks.words import Words, WordStatus
from rerank_proxy.concurrency.steps import run_at_once


def read(text: str, status: WordStatus | None = None) -> Words:
    return run_at_once(Words.read(text, status))
