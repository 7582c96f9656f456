"""The guard for asyncio: each has a task that keeps its lease."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from leasehold import _calls
from leasehold._calls import Seconds
from leasehold._changes import Backlog, Change
from leasehold._clock import now
from leasehold._errors import Denied, Error, Failed
from leasehold._guard import Guard, Kept
from leasehold._keeper import Action, Renew, Take, is_late
from leasehold._lease import Holding, lease_of
from leasehold.aio._waiting import waited

if TYPE_CHECKING:
    from leasehold.aio._core import Core

_log = logging.getLogger("leasehold")

BACKGROUND_TIMEOUT = 10.0


class Changes(AsyncIterator[Change]):
    """What changes about a lease from now on: `async for change in lease.changes()`. It ends when the lease is closed.

    A slow receiver misses what was overtaken and sees the latest: nothing piles up.
    """

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._ended = False
        self._news = asyncio.Event()

    async def __anext__(self) -> Change:
        while True:
            change = self._backlog.pop()
            if change is not None:
                return change
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    def put(self, change: Change) -> None:
        """For the guard: something changed."""
        self._backlog.push(change)
        self._news.set()

    def end(self) -> None:
        """For the guard: it is closed."""
        self._ended = True
        self._news.set()


class Leased(Guard):
    """A secret that is held, made by `Client.lease`: a mapping of its fields, which are always those of now.

    It is kept in the background until it is closed, which `async with` does: then everything is given back. One that is
    forgotten without that is not kept any longer, and its lease ends at its time.
    """

    def __init__(self, core: Core, holding: Holding, sent: float, ttl: Seconds | None, fields: tuple[str, ...]) -> None:
        kept = Kept(holding, sent)
        super().__init__(holding.lease.secret, kept)
        self._worker = _Worker(core, kept, holding.lease.secret, ttl, fields)
        self._forget = weakref.finalize(self, self._worker.forgotten, asyncio.get_running_loop())
        self._forget.atexit = False
        core.watchers.add(holding.lease.id, kept)
        self._worker.start()

    def changes(self) -> Changes:
        """What changes from now on, for one receiver."""
        changes = Changes()
        if self._kept.stopping:
            changes.end()
        self._kept.receivers.add(changes)
        return changes

    async def close(self) -> None:
        """Gives back everything that is held, for certain. Closing it again does nothing.

        Raises an `Error` when the broker could not be told; the lease ends at its time then.
        """
        if self._forget.detach() is None:
            return
        self._worker.stop()
        await self._worker.give_back_all()

    async def __aenter__(self) -> Leased:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Error as why:
            # What was done with the secret is done: this is no reason to say otherwise.
            _log.warning("a lease on %s could not be given back and ends at its time: %s", self.secret, why)


class Borrow:
    """A lease that is about to be taken: await it, or use it with `async with`."""

    def __init__(self, core: Core, secret: str, ttl: Seconds | None, fields: tuple[str, ...]) -> None:
        self._core, self._secret, self._ttl, self._fields = core, secret, ttl, fields
        self._leased: Leased | None = None

    def __await__(self) -> Generator[Any, None, Leased]:
        return self._take().__await__()

    async def __aenter__(self) -> Leased:
        self._leased = await self._take()
        return self._leased

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leased is not None:
            await self._leased.__aexit__(kind, error, trace)

    async def _take(self) -> Leased:
        # First the watch, so that nothing of the lease goes untold.
        self._core.watch()
        sent, holding = 0.0, None
        while holding is None or is_late(holding, sent, now()):
            sent = now()
            request = _calls.issue(self._secret, self._ttl, self._fields, None)
            holding = _calls.issued(await self._core.call("IssueLease", request))
        return Leased(self._core, holding, sent, self._ttl, self._fields)


class _Worker:
    """The task of one guard."""

    def __init__(self, core: Core, kept: Kept, secret: str, ttl: Seconds | None, fields: tuple[str, ...]) -> None:
        self._core, self._kept, self._secret, self._ttl, self._fields = core, kept, secret, ttl, fields
        self._stop = asyncio.Event()
        self._awake = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        kept.wake = self._awake.set

    def start(self) -> None:
        self._task = self._core.spawn(self._run())

    def stop(self) -> None:
        self._stop.set()
        self._kept.stop()

    def forgotten(self, loop: asyncio.AbstractEventLoop) -> None:
        """The collector may run in any thread, and after the loop."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.stop)

    async def give_back_all(self) -> None:
        if self._task is not None:
            # A lease that is being taken just now is given back as well, so it is not cancelled.
            await asyncio.wait([self._task])
        failure: Error | None = None
        for lease_id in self._kept.keeper.open():
            try:
                await self._core.call("RevokeLease", _calls.revoke(lease_id, ""), BACKGROUND_TIMEOUT, manner="patient")
            except Denied:
                # It is not known any more.
                continue
            except Error as error:
                failure = error
        if failure is not None:
            raise failure

    async def _run(self) -> None:
        while not self._kept.stopping and not self._core.stopped.is_set():
            self._awake.clear()
            self._core.pool.refresh()
            action, wait = self._kept.keeper.next(now())
            if action is None:
                await waited(self._awake, wait)
                continue
            try:
                await self._do(action)
            except Exception as error:
                if self._core.stopped.is_set():
                    return
                _log.exception("keeping a lease on %s failed unexpectedly", self._secret)
                self._kept.keeper.failed(Failed(f"unexpected: {type(error).__name__}"), now())

    async def _do(self, action: Action) -> None:
        keeper, call = self._kept.keeper, self._core.call
        error: Error | None = None
        patience = keeper.patience(now())
        try:
            if isinstance(action, Renew):
                request = _calls.renew(action.lease_id, self._ttl, False)
                answer = await call("RenewLease", request, patience, self._stop, "brief")
                keeper.renewed(lease_of(answer.lease), now())
            elif isinstance(action, Take):
                wanted = _calls.issue(self._secret, self._ttl, self._fields, action.request_id)
                holding = _calls.issued(await call("IssueLease", wanted, patience, self._stop, "brief"))
                keeper.taken(holding, action.sent, now())
                self._core.watchers.add(holding.lease.id, self._kept)
            else:
                await call("RevokeLease", _calls.revoke(action.lease_id, ""), patience, self._stop, "brief")
        except Error as why:
            error = why
        if not isinstance(action, (Renew, Take)):
            keeper.given_back(action.lease_id, error, now())
        elif error is not None:
            keeper.failed(error, now())
