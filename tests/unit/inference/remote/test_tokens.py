"""Access tokens are fetched once, and in time."""

import asyncio

import pytest

from rerank_proxy.inference.remote.tokens import Token, TokenCache
from tests.support.remote import SkippingClock


class Issuer:
    """Issues tokens that are valid for an hour, once it is allowed to."""

    def __init__(self) -> None:
        self.given = 0
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Token:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.given += 1
        return Token(f"token-{self.given}", 3600)


async def test_a_token_is_kept_until_a_minute_before_its_end() -> None:
    clock, issuer = SkippingClock(), Issuer()
    tokens = TokenCache(clock)
    assert await tokens.get("a", issuer) == "token-1"
    await clock.sleep(3530)
    assert await tokens.get("a", issuer) == "token-1"
    await clock.sleep(11)
    assert await tokens.get("a", issuer) == "token-2"
    assert await tokens.get("b", issuer) == "token-3"


async def test_callers_at_the_same_time_share_one_fetch() -> None:
    issuer = Issuer()
    issuer.open.clear()
    tokens = TokenCache(SkippingClock())
    callers = [asyncio.create_task(tokens.get("a", issuer)) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()  # who leaves does not take it from the others
    await asyncio.sleep(0)
    issuer.open.set()
    assert await asyncio.gather(*callers[1:]) == ["token-1"] * 4


async def test_a_failure_is_that_of_all_who_wait_and_is_not_kept() -> None:
    issuer = Issuer()
    tokens = TokenCache(SkippingClock())
    issuer.failure = ValueError("no")
    results = await asyncio.gather(*(tokens.get("a", issuer) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3
    issuer.failure = None
    assert await tokens.get("a", issuer) == "token-1"


async def test_a_refused_token_is_forgotten() -> None:
    issuer = Issuer()
    tokens = TokenCache(SkippingClock())
    await tokens.get("a", issuer)
    tokens.forget("a")
    tokens.forget("never there")
    assert await tokens.get("a", issuer) == "token-2"


async def test_closing_ends_what_is_under_way() -> None:
    issuer = Issuer()
    issuer.open.clear()
    tokens = TokenCache(SkippingClock())
    caller = asyncio.create_task(tokens.get("a", issuer))
    await asyncio.sleep(0)
    await tokens.close()
    with pytest.raises(asyncio.CancelledError):
        await caller


def test_a_token_is_not_printed() -> None:
    assert "secret" not in repr(Token("secret", 1))
