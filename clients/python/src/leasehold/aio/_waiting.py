"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio


async def waited(event: asyncio.Event, timeout: float) -> bool:
    """Whether it came to pass within so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), timeout)
    except asyncio.TimeoutError:
        return False
    return True
