"""The pool of postgres.py for asyncio: to be copied as well."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

import leasehold

log = logging.getLogger(__name__)

AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


class Signed:
    """The pool of one lease."""

    def __init__(self, holding: leasehold.Holding, conninfo: str, options: dict[str, Any]) -> None:
        self.holding = holding
        self.users = 0
        self.unused = asyncio.Event()
        sign_in = {"user": holding["username"].expose(), "password": holding["password"].expose()}
        self.pool: AsyncPool = AsyncConnectionPool(conninfo, kwargs=sign_in, open=False, **options)


class LeasedPool:
    """Connections with the fields `username` and `password` of a lease, for `async with`.

    `options` are those of an `AsyncConnectionPool`. While it moves there are the connections of two users: `max_size`
    holds for each of them.
    """

    def __init__(self, lease: leasehold.aio.Leased, conninfo: str, **options: Any) -> None:
        self._lease, self._conninfo, self._options = lease, conninfo, options
        # The last one is in use, those before it until their connections are back.
        self._pools: list[Signed] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> LeasedPool:
        # Before the first lookup, so that nothing goes unheard.
        changes = self._lease.changes()
        self._pools.append(await self._sign_in())
        self._spawn(self._follow(changes))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for signed in self._pools:
            await signed.pool.close()

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection; what is done with it is one transaction."""
        signed = self._pools[-1]
        signed.users += 1
        try:
            async with signed.pool.connection(timeout) as connection:
                yield connection
        finally:
            signed.users -= 1
            if signed.users == 0 and signed is not self._pools[-1]:
                signed.unused.set()

    async def _sign_in(self) -> Signed:
        signed = Signed(self._lease.current(), self._conninfo, self._options)
        try:
            await signed.pool.open(wait=True)
        except BaseException:
            await signed.pool.close()
            raise
        return signed

    async def _follow(self, changes: leasehold.aio.Changes) -> None:
        async for change in changes:
            if isinstance(change, leasehold.Replaced):
                await self._move()

    async def _move(self) -> None:
        while True:
            try:
                signed = await self._sign_in()
                break
            except PoolTimeout:
                log.warning("there are no connections as the new user yet; those of the old one go on")
            except leasehold.LeaseEnded:
                # Another one comes, and is told.
                return
        old = self._pools[-1]
        self._pools.append(signed)
        if old.users == 0:
            old.unused.set()
        # A query that takes long keeps its own pool, and nobody else from moving on.
        self._spawn(self._retire(old))

    async def _retire(self, old: Signed) -> None:
        await old.unused.wait()
        await old.pool.close()
        self._pools.remove(old)
        self._lease.switched(self._pools[0].holding)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def main() -> None:
    """Queries from four tasks until the end of the input, and says how many went well."""
    host, port, secret = sys.argv[1], sys.argv[2], sys.argv[3]
    over, counts = asyncio.Event(), Counter[str]()

    async def query(pool: LeasedPool) -> None:
        while not over.is_set():
            try:
                async with pool.connection() as connection:
                    cursor = await connection.execute("SELECT current_user, pg_sleep(0.005)")
                    row = await cursor.fetchone()
                    counts[row[0] if row else "nobody"] += 1
            except (psycopg.Error, leasehold.Error) as error:
                print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                counts["failed"] += 1

    where = f"host={host} port={port} dbname=postgres"
    async with (
        leasehold.aio.Client.from_env() as client,
        client.lease(secret) as lease,
        LeasedPool(lease, where, min_size=4) as pool,
    ):
        tasks = [asyncio.create_task(query(pool)) for _ in range(4)]
        print("querying", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        over.set()
        await asyncio.gather(*tasks)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except PoolTimeout:
        sys.exit("PostgreSQL does not let the user in, or cannot be reached: above it is said why")
