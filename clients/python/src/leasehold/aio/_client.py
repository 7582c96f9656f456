"""The client for asyncio."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from leasehold import _calls, _settings
from leasehold._attempts import Attempts, Manner, moves_on
from leasehold._calls import Seconds
from leasehold._clock import now
from leasehold._credentials import Pem
from leasehold._diagnosis import diagnose
from leasehold._errors import ClientClosed, Error, Unreachable, error_of
from leasehold._keeper import LONGEST_DELAY
from leasehold._lease import Holding, Lease, LeaseState, lease_of
from leasehold._pool import Pool
from leasehold._secret import Value
from leasehold._watchers import Watchers
from leasehold.aio._leased import Borrow
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


class Client:
    """A client of the broker for asyncio: `leasehold.Client` says what its arguments are.

    It belongs to the event loop in which it is made, and is closed by `async with` or `await client.close()`.

    Raises `ConfigurationError` and `CredentialError`.
    """

    def __init__(
        self,
        addresses: str | Iterable[str] | None = None,
        *,
        identity: str | os.PathLike[str] | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        ca: Pem | None = None,
        server_name: str | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
    ) -> None:
        self._core = Core(
            _settings.settings(
                addresses,
                identity=identity,
                cert=cert,
                key=key,
                ca=ca,
                server_name=server_name,
                timeout=timeout,
                connect_timeout=connect_timeout,
            )
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **others: Any) -> Client:
        """A client as the environment says; see `leasehold.Client.from_env`."""
        return cls(**{**_settings.from_env(os.environ if environ is None else environ), **others})

    def lease(self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = ()) -> Borrow:
        """Takes a lease and keeps it in the background: `async with client.lease(...) as lease`, or `await` it.

        It is renewed at two thirds of its life, and moved to the new version when the secret is rotated. Without `ttl`
        it has the secret's default, without `fields` all of them.
        """
        return Borrow(self._core, secret, ttl, _calls.names(fields))

    async def issue_lease(
        self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = (), request_id: str | None = None
    ) -> Holding:
        """Takes a lease that nobody keeps. `request_id` names the request in the audit journal."""
        request = _calls.issue(secret, ttl, fields, request_id)
        return _calls.issued(await self._core.call("IssueLease", request))

    async def renew_lease(
        self, lease_id: str, *, ttl: Seconds | None = None, accept_rotation: bool = False
    ) -> tuple[Lease, Value | None]:
        """Asks for more time; with `accept_rotation` moves a static lease to the current version, and has its value."""
        return _calls.renewed(await self._core.call("RenewLease", _calls.renew(lease_id, ttl, accept_rotation)))

    async def revoke_lease(self, lease_id: str, *, reason: str = "") -> Lease:
        """Gives a lease back. One that has ended already is a success."""
        return lease_of((await self._core.call("RevokeLease", _calls.revoke(lease_id, reason))).lease)

    async def get_lease(self, lease_id: str) -> Lease:
        """Looks at a lease; never gives the value again."""
        return lease_of((await self._core.call("GetLease", pb.GetLeaseRequest(lease_id=lease_id))).lease)

    async def list_leases(
        self, *, secret: str | None = None, states: Iterable[LeaseState] = ()
    ) -> AsyncIterator[Lease]:
        """One's own leases, page by page as they are read; ended ones too, until the broker forgets them."""
        states, token = tuple(states), ""
        while True:
            page = await self._core.call("ListLeases", _calls.list_page(secret, states, token))
            for message in page.leases:
                yield lease_of(message)
            token = page.next_page_token
            if not token:
                return

    async def close(self) -> None:
        """Ends all connections. Leases that are still held end at their time: close them first."""
        await self._core.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
