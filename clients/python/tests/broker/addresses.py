"""One of several brokers is enough. Run by tests/clients."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import leasehold

SECRET, THERE = os.environ["SECRET"], os.environ["LEASEHOLD_ADDR"]
PATIENCE = 10.0


def in_threads(addresses: list[str]) -> None:
    with leasehold.Client.from_env(addresses=addresses) as client, client.lease(SECRET) as lease:
        assert lease.secret == SECRET
        # The one that answered is kept to.
        began = time.monotonic()
        for _ in range(5):
            client.get_lease(lease.current().lease.id)
        assert time.monotonic() - began < PATIENCE / 2


async def in_asyncio(addresses: list[str]) -> None:
    async with leasehold.aio.Client.from_env(addresses=addresses) as client, client.lease(SECRET) as lease:
        assert lease.secret == SECRET


def lost(addresses: list[str]) -> leasehold.Unreachable:
    try:
        leasehold.Client.from_env(addresses=addresses, timeout=1.0).issue_lease(SECRET)
    except leasehold.Unreachable as error:
        return error
    raise AssertionError("nobody is there")


def main() -> None:
    # The system accepts for it, and nobody says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as server:
        mute, gone = (f"127.0.0.1:{each.getsockname()[1]}" for each in (silent, server))
        server.close()
        for addresses in ([gone, THERE], [THERE, gone], [mute, THERE], [gone, mute, THERE]):
            began = time.monotonic()
            in_threads(addresses)
            asyncio.run(in_asyncio(addresses))
            assert time.monotonic() - began < PATIENCE, addresses
        assert "nothing listens" in str(lost([gone, gone]))
    print("well")


main()
