"""Who asks too often is told when to come again. Run by tests/clients, on a broker that lets few requests through."""

from __future__ import annotations

import asyncio
import os
import time

import leasehold

SECRET = os.environ["SECRET"]
MANY = 60


def check(error: leasehold.Throttled) -> float:
    """How long it says to wait."""
    assert error.reason == "RATE_LIMITED", error.reason
    assert error.request_id
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 1, error.retry_after
    return error.retry_after


def in_threads() -> None:
    with leasehold.Client.from_env() as client:
        for _ in range(MANY):
            try:
                client.issue_lease(SECRET)
            except leasehold.Throttled as error:
                # A little more: what is said is rounded, and the clocks are two.
                time.sleep(check(error) + 0.05)
                client.issue_lease(SECRET)
                return
    raise AssertionError("nothing is throttled")


async def in_asyncio() -> None:
    async with leasehold.aio.Client.from_env() as client:
        for _ in range(MANY):
            try:
                await client.issue_lease(SECRET)
            except leasehold.Throttled as error:
                await asyncio.sleep(check(error) + 0.05)
                await client.issue_lease(SECRET)
                return
    raise AssertionError("nothing is throttled")


in_threads()
asyncio.run(in_asyncio())
print("well")
