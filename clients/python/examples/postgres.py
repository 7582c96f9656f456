"""A pool of connections to PostgreSQL on a leased user and password, which no rotation and no lease's end interrupts.

Copy the class. It has a `psycopg_pool.ConnectionPool` for each lease. When there is something newer to use, a pool that
signs in with it is opened beside the old one, takes over when its connections stand, and the old one is closed when the
last of its connections has come back. Then the broker is told, which retires the old password, or drops the old user.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

import leasehold

log = logging.getLogger(__name__)


class Signed:
    """The pool of one lease."""

    def __init__(self, holding: leasehold.Holding, conninfo: str, options: dict[str, Any]) -> None:
        self.holding = holding
        self.users = 0
        sign_in = {"user": holding["username"].expose(), "password": holding["password"].expose()}
        self.pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            conninfo, kwargs=sign_in, open=False, **options
        )
        self.pool.open(wait=True)


class LeasedPool:
    """Connections with the fields `username` and `password` of a lease; `options` are those of a `ConnectionPool`.

    While it moves there are the connections of two users: `max_size` holds for each of them.
    """

    def __init__(self, lease: leasehold.Leased, conninfo: str, **options: Any) -> None:
        self._lease, self._conninfo, self._options = lease, conninfo, options
        self._changed = threading.Condition()
        self._closed = False
        # Before the first lookup, so that nothing goes unheard.
        changes = lease.changes()
        # The last one is in use, those before it until their connections are back.
        self._pools = [Signed(lease.current(), conninfo, options)]
        threading.Thread(target=self._follow, args=(changes,), daemon=True).start()

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A connection; what is done with it is one transaction."""
        with self._changed:
            signed = self._pools[-1]
            signed.users += 1
        try:
            with signed.pool.connection(timeout) as connection:
                yield connection
        finally:
            with self._changed:
                signed.users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Closes it; connections that are in use are closed when they come back."""
        with self._changed:
            self._closed = True
        for signed in list(self._pools):
            signed.pool.close()

    def _follow(self, changes: leasehold.Changes) -> None:
        for change in changes:
            if isinstance(change, leasehold.Replaced):
                self._move()

    def _move(self) -> None:
        signed = None
        while signed is None and not self._closed:
            try:
                signed = Signed(self._lease.current(), self._conninfo, self._options)
            except PoolTimeout:
                log.warning("there are no connections as the new user yet; those of the old one go on")
            except leasehold.LeaseEnded:
                # Another one comes, and is told.
                return
        with self._changed:
            if signed is None or self._closed:
                return
            old = self._pools[-1]
            self._pools.append(signed)
        # A query that takes long keeps its own pool, and nobody else from moving on.
        threading.Thread(target=self._retire, args=(old,), daemon=True).start()

    def _retire(self, old: Signed) -> None:
        with self._changed:
            self._changed.wait_for(lambda: old.users == 0)
        old.pool.close()
        with self._changed:
            self._pools.remove(old)
            self._lease.switched(self._pools[0].holding)


def main() -> None:
    """Queries from four threads until the end of the input, and says how many went well."""
    host, port, secret = sys.argv[1], sys.argv[2], sys.argv[3]
    over, counts = threading.Event(), Counter[str]()

    def query(pool: LeasedPool) -> None:
        while not over.is_set():
            try:
                with pool.connection() as connection:
                    row = connection.execute("SELECT current_user, pg_sleep(0.005)").fetchone()
                    counts[row[0] if row else "nobody"] += 1
            except (psycopg.Error, leasehold.Error) as error:
                print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                counts["failed"] += 1

    with leasehold.Client.from_env() as client, client.lease(secret) as lease:
        try:
            pool = LeasedPool(lease, f"host={host} port={port} dbname=postgres", min_size=4)
        except PoolTimeout:
            sys.exit("PostgreSQL does not let the user in, or cannot be reached: above it is said why")
        threads = [threading.Thread(target=query, args=(pool,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        print("querying", flush=True)
        sys.stdin.read()
        over.set()
        for thread in threads:
            thread.join()
        pool.close()
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}", flush=True)


if __name__ == "__main__":
    main()
