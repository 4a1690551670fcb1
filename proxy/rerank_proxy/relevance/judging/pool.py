"""The pool: what several retrievers have found for a query, as one set without places.

Documents that no system of the comparison finds are never seen, and remain unjudged. Spärck Jones and van
Rijsbergen, "Report on the need for and provision of an 'ideal' information retrieval test collection" (1975),
is the source of the method, which TREC uses.
"""

import random
from collections.abc import Mapping, Sequence
from math import floor

import msgspec


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one system has brought into the pool of a query.

    Attributes:
        hits: Documents that it found, up to the depth.
        alone: Those of them that no other system found.
    """

    hits: int
    alone: int


class Pooled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pool of one query.

    Attributes:
        documents: Ids in the order of their characters, which tells nothing about who found them where.
        systems: What each system brought, by its name.
    """

    query: str
    text: str
    documents: tuple[str, ...]
    systems: dict[str, Share]


def pooled(query: str, text: str, found: Mapping[str, Sequence[str]], depth: int) -> Pooled:
    """Unite the first hits of several systems.

    Args:
        found: Ids of documents by the name of the system, best first.
        depth: How many of each system are taken.
    """
    taken = {name: {*ids[:depth]} for name, ids in found.items()}
    others = {name: {each for other, ids in taken.items() if other != name for each in ids} for name in taken}
    shares = {name: Share(len(ids), len(ids - others[name])) for name, ids in taken.items()}
    return Pooled(query, text, tuple(sorted(set().union(*taken.values()))), shares)


def shuffled(pool: Pooled, seed: int, judge: str) -> list[str]:
    """Return the documents in the order in which a judge sees them.

    It is always the same for the same judge, and another for the next, so that the same documents do not
    always come first, when judges are fresh.
    """
    documents = [*pool.documents]
    random.Random(f"{seed}\n{judge}\n{pool.query}").shuffle(documents)
    return documents


def dealt(queries: Sequence[str], judges: Sequence[str], shared: float, seed: int) -> dict[str, list[str]]:
    """Divide queries among judges.

    Args:
        queries: Their ids, in any order.
        shared: The share of queries that every judge gets, from 0 to 1.

    Returns:
        The ids for each judge, in the order of judging, in which shared queries do not stand out.
    """
    deck = sorted(queries)
    random.Random(f"{seed}\ndeal").shuffle(deck)
    common = floor(shared * len(deck) + 0.5)
    hands = {judge: deck[:common] + deck[common + place :: len(judges)] for place, judge in enumerate(judges)}
    for judge, hand in hands.items():
        random.Random(f"{seed}\n{judge}").shuffle(hand)
    return hands
