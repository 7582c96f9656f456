"""A pool of connections to PostgreSQL whose user and password are leased, and rotated under it without a failed query.

Copy the class. What it does: a new connection is made with what is current; one that was made with something older is
closed when it comes back; and when nobody uses the older one any more, the broker is told, which can retire it then.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

import leasehold


class LeasedPool:
    """At most `size` connections, each used by one thread at a time; `where` is what `psycopg.connect` takes."""

    def __init__(self, lease: leasehold.Leased, size: int = 4, **where: Any) -> None:
        self._lease = lease
        self._where = where
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(size)
        self._idle: list[tuple[leasehold.Holding, psycopg.Connection[Any]]] = []
        self._in_use: Counter[leasehold.Holding] = Counter()
        threading.Thread(target=self._follow, daemon=True).start()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection; what is done with it is one transaction."""
        with self._room:
            holding, connection = self._take()
            try:
                with connection.transaction():
                    yield connection
            finally:
                self._put_back(holding, connection)

    def close(self) -> None:
        """Closes what is idle."""
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()

    def _take(self) -> tuple[leasehold.Holding, psycopg.Connection[Any]]:
        with self._lock:
            current = self._lease.current()
            self._in_use[current] += 1
            while self._idle:
                holding, connection = self._idle.pop()
                if holding == current and not connection.closed:
                    return holding, connection
                connection.close()
        try:
            user, password = current["username"].expose(), current["password"].expose()
            return current, psycopg.connect(user=user, password=password, autocommit=True, **self._where)
        except BaseException:
            with self._lock:
                self._in_use[current] -= 1
            raise

    def _put_back(self, holding: leasehold.Holding, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            self._in_use[holding] -= 1
            self._idle.append((holding, connection))
        self._let_go()

    def _follow(self) -> None:
        for change in self._lease.changes():
            if isinstance(change, leasehold.Replaced):
                self._let_go()

    def _let_go(self) -> None:
        """Closes what is idle and old, and says so when nothing old is left."""
        try:
            current = self._lease.current()
        except leasehold.LeaseEnded:
            return
        with self._lock:
            for holding, connection in self._idle:
                if holding != current:
                    connection.close()
            self._idle = [(holding, connection) for holding, connection in self._idle if holding == current]
            old = sum(count for holding, count in self._in_use.items() if holding != current)
            if old == 0:
                self._in_use = +self._in_use
                self._lease.switched(current)


def main() -> None:
    """Queries from four threads until the end of the input, and says how many went well."""
    host, port, secret = sys.argv[1], sys.argv[2], sys.argv[3]
    over, counts = threading.Event(), Counter[str]()

    def query(pool: LeasedPool) -> None:
        while not over.is_set():
            try:
                with pool.connection() as connection:
                    row = connection.execute("SELECT current_user").fetchone()
                    counts[row[0] if row else "nobody"] += 1
            except (psycopg.Error, leasehold.Error) as error:
                print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                counts["failed"] += 1

    with leasehold.Client.from_env() as client, client.lease(secret) as lease:
        pool = LeasedPool(lease, host=host, port=port, dbname="postgres")
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
