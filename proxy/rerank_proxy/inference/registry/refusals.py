"""Tells what upstream's refusals mean for the registry: a status for clients, and what an operator can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy.inference.registry.index_client import NO_ELASTICSEARCH, UNREACHED, RefusedError

PRIVILEGES: Final = ("read", "write", "create_index")
"""The index privileges that the proxy's own account needs."""

_OPERATOR: Final = 500
"""The status of what the client cannot mend, and what does not pass by itself."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of refusals with this status, of this type unless it is empty, whose reason begins like
    this.

    Attributes:
        answer: The status that the client gets; None: the same.
        text: May have the placeholders `index` and `reason`.
    """

    status: int
    type: str
    answer: int | None
    text: str
    reason: str = ""

    def fits(self, refusal: RefusedError) -> bool:
        return (
            refusal.status == self.status
            and self.type in ("", refusal.type)
            and refusal.reason.startswith(self.reason)
        )


_BLOCK: Final = "cluster_block_exception"
_ACCOUNT: Final = (
    f"the proxy's own account may not; give it the index privileges [{', '.join(PRIVILEGES)}] on "
)

MEANINGS: Final[Sequence[Meaning]] = (
    Meaning(
        401,
        "",
        _OPERATOR,
        "upstream does not accept the proxy's own credentials; correct registry.username and "
        "registry.password, or registry.api_key",
    ),
    Meaning(
        403,
        "security_exception",
        _OPERATOR,
        "upstream's licence does not allow it: {reason}",
        "current license",
    ),
    Meaning(403, "security_exception", _OPERATOR, _ACCOUNT + "[{index}]"),
    Meaning(
        403,
        _BLOCK,
        _OPERATOR,
        "the index [{index}] is blocked, not forbidden: {reason}; take the block back there",
    ),
    Meaning(429, _BLOCK, None, "the index [{index}] is blocked for want of disk space: {reason}"),
    Meaning(503, _BLOCK, None, "upstream has no master, or has not recovered yet: {reason}"),
    Meaning(400, "index_closed_exception", _OPERATOR, "the index [{index}] is closed; open it"),
    Meaning(404, "index_not_found_exception", _OPERATOR, "the index [{index}] has gone meanwhile"),
    Meaning(
        400,
        "strict_dynamic_mapping_exception",
        _OPERATOR,
        "the mapping of the index [{index}] is that of another version: {reason}",
    ),
    Meaning(429, "", None, "upstream is overloaded: {reason}"),
    Meaning(502, NO_ELASTICSEARCH, None, "upstream does not answer as Elasticsearch does"),
    Meaning(502, UNREACHED, None, "{reason}"),
    Meaning(502, "", None, "upstream cannot be reached: {reason}"),
    Meaning(503, "", None, "the index [{index}], or upstream as a whole, is not available: {reason}"),
    Meaning(504, "", None, "upstream is too slow: {reason}"),
)
"""The first one that fits applies."""


def explain(refusal: RefusedError, index: str) -> tuple[int, str]:
    """Return the status for a client, and what is wrong."""
    for meaning in MEANINGS:
        if meaning.fits(refusal):
            text = meaning.text.format(index=index, reason=refusal.reason)
            return meaning.answer or refusal.status, text
    return _OPERATOR, f"upstream answered {refusal.status}: {refusal.reason}"
