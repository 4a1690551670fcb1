"""The section about clicks, and about comparisons with users."""

from typing import Annotated, Final

from pydantic import AfterValidator, ByteSize, Field, SecretStr
from pydantic_core import PydanticCustomError

from rerank_proxy.settings.values import SECRET, Count, IndexPatterns, Reloaded, Seconds, Secret, Section

_LONGEST_SEED: Final = 64
"""Bytes: it is the key of a hash (`online.draws`)."""


def _check_seed(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) > _LONGEST_SEED:
        raise PydanticCustomError(SECRET, "must have at most 64 bytes")
    return value


Seed = Annotated[Secret, AfterValidator(_check_seed)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class OnlineSettings(Section):
    enabled: Reloaded[bool] = Field(
        False,
        description="Give each reranked search an id (`X-Rerank-Search`), and take what its users click at "
        "`POST /clicks` of the admin port. `false`: none of this section has an effect.",
    )
    max_searches: Reloaded[Count] = Field(
        10_000, description="The most searches whose clicks are counted; the oldest makes room for a new one."
    )
    max_bytes: Reloaded[ByteSize] = Field(
        ByteSize(32 * 1024 * 1024),
        description="The most bytes that these searches take; beyond it the oldest make room.",
    )
    keep_s: Reloaded[Seconds] = Field(
        3600.0, description="Seconds after a search in which its clicks are counted."
    )
    seed: Seed | None = Field(
        None,
        description="What decides by chance which searches take part in a comparison. Give all replicas "
        "the same one, so that all pages of a search are drawn alike; another one starts another draw. "
        "A secret: who knows it knows the draw of every search. Absent: each process has its own.",
    )
    shadow_share: Reloaded[Share] = Field(
        0.0,
        description="The share of reranked searches, from 0 to 1, that keep their first-stage order and are "
        "scored after their answer, for comparison alone.",
    )
    shadow_indices: Reloaded[IndexPatterns] = Field(
        ("*",), description="The indices of these searches; `*` stands for any characters."
    )
    shadow_at_once: Reloaded[Count] = Field(
        4, description="The most searches that are scored so at a time; further ones are not scored."
    )
    interleave_share: Reloaded[Share] = Field(
        0.0,
        description="The share of reranked searches, from 0 to 1, whose answers have the hits of two orders "
        "in turn (team draft).",
    )
    interleave_indices: Reloaded[IndexPatterns] = Field(
        ("*",), description="The indices of these searches; `*` stands for any characters."
    )
    interleave_with: Reloaded[str | None] = Field(
        None,
        min_length=1,
        description="The `inference_id` of the endpoint whose order theirs is compared with. Absent: the "
        "first-stage order.",
    )
