"""What the tasks of a client share: its connections, its calls and its watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio

from leasehold import _settings
from leasehold._attempts import Attempts, Manner, moves_on
from leasehold._clock import now
from leasehold._diagnosis import diagnose
from leasehold._errors import ClientClosed, Error, Unreachable, error_of
from leasehold._keeper import LONGEST_DELAY
from leasehold._lease import lease_of
from leasehold._pool import Pool
from leasehold._watchers import Watchers
from leasehold.aio._waiting import waited
from leasehold.v1 import lease_service_pb2 as pb
from leasehold.v1.lease_service_pb2_grpc import LeaseServiceStub

_log = logging.getLogger("leasehold")


class _Line:
    """A channel with its stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: Any = LeaseServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self.proven = False


class _Channels:
    def __init__(self, core: Core) -> None:
        self._core = core

    def open(self, address: str, credentials: grpc.ChannelCredentials, options: list[tuple[str, Any]]) -> _Line:
        return _Line(grpc.aio.secure_channel(address, credentials, options))

    def when_ready(self, line: _Line, then: Callable[[], None]) -> None:
        async def look() -> None:
            state = line.channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.SHUTDOWN:
                    return
                await line.channel.wait_for_state_change(state)
                state = line.channel.get_state(try_to_connect=True)
            then()

        self._core.spawn(look())

    def close(self, line: _Line) -> None:
        self._core.spawn(line.channel.close())


class Core:
    """What the tasks of a client use."""

    def __init__(self, settings: _settings.Settings) -> None:
        self.settings = settings
        self.watchers = Watchers()
        self.stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.pool = Pool(settings, _Channels(self))
        self._watch_task: asyncio.Task[Any] | None = None
        self._watch_call: Any = None
        self._watch_over = False
        self.pool.on_switch(self._watch_anew)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that is not forgotten while it runs."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def call(
        self,
        method: str,
        request: Any,
        timeout: float | None = None,
        quit: asyncio.Event | None = None,
        manner: Manner = "usual",
    ) -> Any:
        """One call, tried as often as it makes sense within its time."""
        quit = quit or self.stopped
        attempts = Attempts(timeout or self.settings.timeout, now(), self.pool.addresses, manner)
        request_id = getattr(request, "request_id", None) or None
        known: dict[str, Error | None] = {}
        while True:
            with self.pool.borrow(attempts.count) as (line, address):
                limit = attempts.limit(now(), line.proven)
                try:
                    answer = await getattr(line.stub, method)(request, timeout=limit)
                except grpc.aio.AioRpcError as failure:
                    error = error_of(failure, address, request_id)
                    line.proven |= error.reason is not None
                else:
                    line.proven = True
                    return answer
            if isinstance(error, Unreachable):
                if address not in known:
                    where = (address, self.settings.credentials, self.settings.server_name)
                    patience = min(self.settings.connect_timeout, 2.0)
                    known[address] = await asyncio.to_thread(diagnose, *where, patience)
                error = known[address] or error
                error.request_id = request_id
            if moves_on(error):
                self.pool.move_on(address)
            delay = attempts.after(error, now())
            if delay is None or await waited(quit, delay):
                raise error

    def watch(self) -> None:
        """Has the broker tell what happens to the client's leases."""
        if self._watch_task is None and not self.stopped.is_set():
            self._watch_task = self.spawn(self._watch())

    async def close(self) -> None:
        """Ends everything."""
        self.stopped.set()
        self.watchers.end()
        self._watch_anew()
        if self._watch_task is not None:
            self._watch_task.cancel()
        self.pool.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch_anew(self) -> None:
        self._watch_over = True
        if self._watch_call is not None:
            self._watch_call.cancel()

    async def _watch(self) -> None:
        token, failures = "", 0
        while not self.stopped.is_set():
            began = now()
            self._watch_over = False
            try:
                with self.pool.borrow(failures) as (line, address):
                    self._watch_call = call = line.stub.WatchLeases(pb.WatchLeasesRequest(resume_token=token))
                    if self._watch_over:
                        call.cancel()
                    async for response in call:
                        if response.HasField("lease_event"):
                            event = response.lease_event
                            self.watchers.tell(event.change, lease_of(event.lease))
                        token, failures = response.resume_token, 0
                self.pool.move_on(address)
            except asyncio.CancelledError:
                if self.stopped.is_set() or not self._watch_over:
                    raise
                # It is begun anew with a new certificate.
                continue
            except grpc.aio.AioRpcError as failure:
                error = error_of(failure, address)
                if moves_on(error):
                    self.pool.move_on(address)
                if error.reason == "INVALID_REQUEST":
                    token = ""
            except ClientClosed:
                return
            except Exception:
                if self.stopped.is_set():
                    return
                # Whatever it is: leases are renewed without being told anything, too.
                _log.exception("what the broker tells of leases cannot be understood")
            failures = failures + 1 if now() - began < LONGEST_DELAY else 1
            await waited(self.stopped, min(0.1 * 2 ** min(failures, 10), LONGEST_DELAY))
