"""Two guards, one with threads and one with asyncio, through whatever can happen. Run by tests/clients, from the wheel.

What it needs done it asks for by a line on its output that begins with `!`, and waits for a line on its input.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import leasehold

SECRET = os.environ["SECRET"]
PATIENCE = 30.0

E = TypeVar("E", bound=leasehold.Error)


def ask(what: str) -> None:
    print(f"! {what}", flush=True)
    assert sys.stdin.readline().strip() == "done"


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"it does not come to pass that {what}"
        time.sleep(0.01)


def refused(kind: type[E], call: Callable[[], Any]) -> E:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} is not raised")


class Holder:
    """What one guard was told. It says at once that it has switched."""

    def __init__(self) -> None:
        self.guard: leasehold.Leased | leasehold.aio.Leased | None = None
        self.told: list[leasehold.Change] = []
        self.over = False

    def hear(self, change: leasehold.Change) -> None:
        self.told.append(change)
        if isinstance(change, leasehold.Replaced):
            assert self.guard is not None
            self.guard.switched(change.holding)

    def lease(self) -> leasehold.Lease:
        assert self.guard is not None
        return self.guard.current().lease

    def password(self) -> str:
        assert self.guard is not None
        return self.guard["password"].expose()

    def count(self, kind: type) -> int:
        return sum(isinstance(change, kind) for change in self.told)


def follow(changes: leasehold.Changes, holder: Holder) -> None:
    for change in changes:
        holder.hear(change)


def in_threads(client: leasehold.Client, holder: Holder, end: threading.Event) -> None:
    with client.lease(SECRET, ttl=6) as guard:
        holder.guard = guard
        following = threading.Thread(target=follow, args=(guard.changes(), holder))
        following.start()
        end.wait()
    following.join(PATIENCE)
    holder.over = True


def in_asyncio(holder: Holder, end: threading.Event) -> None:
    async def follow(guard: leasehold.aio.Leased) -> None:
        async for change in guard.changes():
            holder.hear(change)

    async def run() -> None:
        async with leasehold.aio.Client.from_env() as client:
            async with client.lease(SECRET, ttl=6) as guard:
                holder.guard = guard
                following = asyncio.create_task(follow(guard))
                await asyncio.to_thread(end.wait)
            await following
            denied = await asyncio.gather(client.lease("prod/orders/db"), return_exceptions=True)
            assert [type(error) for error in denied] == [leasehold.Denied]
        holder.over = True

    asyncio.run(run())


def refusals(client: leasehold.Client) -> None:
    denied = refused(leasehold.Denied, lambda: client.lease("prod/orders/db"))
    assert denied.reason == "DENIED_OR_NOT_FOUND"
    assert denied.request_id
    invalid = refused(leasehold.InvalidRequest, lambda: client.issue_lease(SECRET, ttl=0.001))
    assert [violation.field for violation in invalid.violations] == ["ttl"]
    invalid = refused(leasehold.InvalidRequest, lambda: client.issue_lease(SECRET, fields=["nonesuch"]))
    assert invalid.reason == "FIELD_NOT_FOUND"
    first = client.issue_lease(SECRET, request_id="the-same-twice")
    assert client.issue_lease(SECRET, request_id="the-same-twice") == first
    assert client.get_lease(first.lease.id).state is leasehold.LeaseState.ACTIVE
    assert client.renew_lease(first.lease.id, ttl=60)[0].renewals == 1
    assert client.revoke_lease(first.lease.id, reason="done").state is leasehold.LeaseState.REVOKED
    over = refused(leasehold.Refused, lambda: client.renew_lease(first.lease.id))
    assert over.reason == "LEASE_REVOKED"


def replaced(holders: Iterable[Holder]) -> list[int]:
    return [holder.count(leasehold.Replaced) for holder in holders]


class Switches(logging.Handler):
    """Counts how often a new certificate has taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.getMessage() == "a new certificate is in use"


def calls_while(client: leasehold.Client, what: str) -> None:
    """Nothing fails meanwhile, neither with threads nor with asyncio."""
    end, failed, made = threading.Event(), list[str](), [0, 0]

    def in_threads() -> None:
        while not end.is_set():
            try:
                next(client.list_leases())
                made[0] += 1
            except leasehold.Error as error:
                failed.append(f"{type(error).__name__}: {error}")

    async def in_asyncio() -> None:
        async with leasehold.aio.Client.from_env() as other:
            while not end.is_set():
                try:
                    await anext(other.list_leases())
                    made[1] += 1
                except leasehold.Error as error:
                    failed.append(f"{type(error).__name__}: {error}")

    log, switches = logging.getLogger("leasehold"), Switches()
    log.addHandler(switches)
    log.setLevel(logging.INFO)
    threads = [threading.Thread(target=in_threads), threading.Thread(target=lambda: asyncio.run(in_asyncio()))]
    for thread in threads:
        thread.start()
    until("both call", lambda: min(made) > 0)
    ask(what)
    end.set()
    for thread in threads:
        thread.join()
    log.removeHandler(switches)
    assert failed == []
    assert min(made) > 10, made
    # Three clients, and each certificate is good for a few seconds only.
    assert switches.count >= 3 * 3, switches.count


def main() -> None:
    needed = {re.split(r"[<>=]", requirement)[0] for requirement in importlib.metadata.requires("leasehold") or ()}
    assert needed == {"googleapis-common-protos", "grpcio", "protobuf"}
    assert os.path.realpath(leasehold.__file__).startswith(os.path.realpath(sys.prefix)), leasehold.__file__
    end, holders = threading.Event(), (Holder(), Holder())
    with leasehold.Client.from_env() as client:
        threads = [
            threading.Thread(target=in_threads, args=(client, holders[0], end)),
            threading.Thread(target=in_asyncio, args=(holders[1], end)),
        ]
        for thread in threads:
            thread.start()
        until("both have a lease", lambda: all(holder.guard is not None for holder in holders))
        assert {holder.password() for holder in holders} == {os.environ["FIRST"]}
        refusals(client)
        until("both are renewed", lambda: all(holder.lease().renewals > 0 for holder in holders))

        # Counts are compared with what was before: on a busy machine a lease of seconds can be lost and taken anew.
        for _ in range(2):
            before, moves = {holder.password() for holder in holders}, replaced(holders)
            # It is answered when the old version is retired: both have let go of it.
            ask("rotate")
            assert not before & {holder.password() for holder in holders}
            assert all(now > then for now, then in zip(replaced(holders), moves, strict=True))

        calls_while(client, "change certificates")

        ask("stop the broker")
        moves = replaced(holders)
        until("both leases are over", lambda: all(holder.count(leasehold.Ended) for holder in holders))
        for holder in holders:
            assert holder.count(leasehold.Failing) > 0
            refused(leasehold.LeaseEnded, holder.password)
        hasty = leasehold.Client.from_env(timeout=1.0)
        unreachable = refused(leasehold.Unreachable, lambda: hasty.issue_lease(SECRET))
        assert "nothing listens" in str(unreachable), unreachable
        ask("start the broker")
        until("both have a new lease", lambda: all(map(int.__gt__, replaced(holders), moves)))
        assert len({holder.password() for holder in holders}) == 1

        end.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert all(holder.over for holder in holders)
        live = [lease for lease in client.list_leases() if lease.state is leasehold.LeaseState.ACTIVE]
        assert live == [], "everything was given back, or is over"
    print("well", flush=True)


main()
