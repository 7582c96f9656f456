"""The guard for programs with threads: each has a thread that keeps its lease."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from leasehold import _calls
from leasehold._calls import Seconds
from leasehold._changes import Backlog, Change
from leasehold._clock import now
from leasehold._errors import Denied, Error, Failed
from leasehold._guard import Guard, Kept
from leasehold._keeper import Action, Renew, Take
from leasehold._lease import Holding, lease_of

if TYPE_CHECKING:
    from leasehold._client import Client
    from leasehold._core import Core

_log = logging.getLogger("leasehold")

BACKGROUND_TIMEOUT = 10.0


class Changes(Iterator[Change]):
    """What changes about a lease from now on. An iterator, which waits, and ends when the lease is closed.

    A slow receiver misses what was overtaken and sees the latest: nothing piles up.
    """

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._ended = False
        self._condition = threading.Condition()

    def __next__(self) -> Change:
        change = self.wait()
        if change is None:
            raise StopIteration
        return change

    def wait(self, timeout: float | None = None) -> Change | None:
        """The next change; `None` when there was none within so many seconds, or when the lease is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._backlog or self._ended, timeout)
            return self._backlog.pop()

    def put(self, change: Change) -> None:
        """For the guard: something changed."""
        with self._condition:
            self._backlog.push(change)
            self._condition.notify_all()

    def end(self) -> None:
        """For the guard: it is closed."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()


class Leased(Guard):
    """A secret that is held, made by `Client.lease`: a mapping of its fields, which are always those of now.

    It is kept in the background until it is closed, which `with` does: then everything is given back. One that is
    forgotten without that is not kept any longer, and its lease ends at its time.
    """

    def __init__(
        self,
        client: Client,
        core: Core,
        holding: Holding,
        sent: float,
        ttl: Seconds | None,
        fields: tuple[str, ...],
    ) -> None:
        # A client that goes away is closed.
        self._client = client
        kept = Kept(holding, sent)
        super().__init__(holding.lease.secret, kept)
        self._worker = _Worker(core, kept, holding.lease.secret, ttl, fields)
        self._forget = weakref.finalize(self, self._worker.forgotten)
        core.watchers.add(holding.lease.id, kept)
        self._worker.start()

    def changes(self) -> Changes:
        """What changes from now on, for one receiver."""
        changes = Changes()
        with self._kept.lock:
            if self._kept.stopping:
                changes.end()
            self._kept.receivers.add(changes)
        return changes

    def close(self) -> None:
        """Gives back everything that is held, for certain. Closing it again does nothing.

        Raises an `Error` when the broker could not be told; the lease ends at its time then.
        """
        if self._forget.detach() is None:
            return
        self._worker.stop()
        self._worker.join()
        self._worker.give_back_all()

    def __enter__(self) -> Leased:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Error as why:
            # What was done with the secret is done: this is no reason to say otherwise.
            _log.warning("a lease on %s could not be given back and ends at its time: %s", self.secret, why)


class _Worker:
    """The thread of one guard."""

    def __init__(self, core: Core, kept: Kept, secret: str, ttl: Seconds | None, fields: tuple[str, ...]) -> None:
        self._core, self._kept, self._secret, self._ttl, self._fields = core, kept, secret, ttl, fields
        self._stop = threading.Event()
        # What wakes it can be the collector, in any thread and at any moment: `put` alone may be called then.
        self._awake: SimpleQueue[None] = SimpleQueue()
        kept.wake = lambda: self._awake.put(None)
        self._thread = threading.Thread(target=self._run, name=f"leasehold-{secret}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._kept.stop()

    def forgotten(self) -> None:
        self._kept.stopping = True
        self._awake.put(None)

    def join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def give_back_all(self) -> None:
        failure: Error | None = None
        for lease_id in self._kept.keeper.open():
            try:
                self._core.call("RevokeLease", _calls.revoke(lease_id, ""), BACKGROUND_TIMEOUT, manner="patient")
            except Denied:
                # It is not known any more.
                continue
            except Error as error:
                failure = error
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            self._keep()
        finally:
            self._kept.stop()

    def _keep(self) -> None:
        while not self._kept.stopping and not self._core.stopped.is_set():
            self._core.pool.refresh()
            with self._kept.lock:
                action, wait = self._kept.keeper.next(now())
            if action is None:
                with suppress(Empty):
                    self._awake.get(timeout=wait)
                continue
            try:
                self._do(action)
            except Exception as error:
                if self._core.stopped.is_set():
                    return
                _log.exception("keeping a lease on %s failed unexpectedly", self._secret)
                with self._kept.lock:
                    self._kept.keeper.failed(Failed(f"unexpected: {type(error).__name__}"), now())

    def _do(self, action: Action) -> None:
        keeper, lock, call = self._kept.keeper, self._kept.lock, self._core.call
        error: Error | None = None
        with lock:
            patience = keeper.patience(now())
        try:
            if isinstance(action, Renew):
                request = _calls.renew(action.lease_id, self._ttl, False)
                answer = call("RenewLease", request, patience, self._stop, "brief")
                with lock:
                    keeper.renewed(lease_of(answer.lease), now())
            elif isinstance(action, Take):
                wanted = _calls.issue(self._secret, self._ttl, self._fields, action.request_id)
                holding = _calls.issued(call("IssueLease", wanted, patience, self._stop, "brief"))
                with lock:
                    keeper.taken(holding, action.sent, now())
                self._core.watchers.add(holding.lease.id, self._kept)
            else:
                call("RevokeLease", _calls.revoke(action.lease_id, ""), patience, self._stop, "brief")
        except Error as why:
            error = why
        with lock:
            if not isinstance(action, (Renew, Take)):
                keeper.given_back(action.lease_id, error, now())
            elif error is not None:
                keeper.failed(error, now())
