"""The client for programs with threads."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import grpc

from leasehold import _calls, _settings
from leasehold._attempts import Attempts, Manner, moves_on
from leasehold._calls import Seconds
from leasehold._clock import now
from leasehold._credentials import Pem
from leasehold._diagnosis import diagnose
from leasehold._errors import ClientClosed, Error, Unreachable, error_of
from leasehold._keeper import LONGEST_DELAY, is_late
from leasehold._lease import Holding, Lease, LeaseState, lease_of
from leasehold._leased import Leased
from leasehold._pool import Pool
from leasehold._secret import Value
from leasehold._watchers import Watchers
from leasehold.v1 import lease_service_pb2 as pb
from leasehold.v1.lease_service_pb2_grpc import LeaseServiceStub

LOOKING = 1.0

_log = logging.getLogger("leasehold")


class _Line:
    """A channel with its stub."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.stub: Any = LeaseServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self.proven = False
        self.look: Callable[[grpc.ChannelConnectivity], None] | None = None
        self.looked = False

    def unsubscribe(self) -> None:
        """Is told nothing of its state any more."""
        look, self.look = self.look, None
        if look is not None:
            self.channel.unsubscribe(look)


class _Channels:
    def open(self, address: str, credentials: grpc.ChannelCredentials, options: list[tuple[str, Any]]) -> _Line:
        return _Line(grpc.secure_channel(address, credentials, options))

    def when_ready(self, line: _Line, then: Callable[[], None]) -> None:
        def look(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                line.unsubscribe()
                then()
            elif state is grpc.ChannelConnectivity.IDLE and line.look is look:
                # It does not try again by itself.
                line.channel.unsubscribe(look)
                line.channel.subscribe(look, try_to_connect=True)

        line.look = look
        line.looked = True
        line.channel.subscribe(look, try_to_connect=True)

    def close(self, line: _Line) -> None:
        if not line.looked:
            line.channel.close()
            return
        # The thread of grpcio that looks at its state falls over when the channel is closed under it. It ends by itself
        # a moment after the last subscription.
        line.unsubscribe()
        timer = threading.Timer(LOOKING, line.channel.close)
        timer.daemon = True
        timer.start()


class Core:
    """What the threads of a client use. The client itself can go away meanwhile."""

    def __init__(self, settings: _settings.Settings) -> None:
        self.settings = settings
        self.watchers = Watchers()
        self.stopped = threading.Event()
        self.pool = Pool(settings, _Channels())
        self._watch_lock = threading.Lock()
        self._watching = False
        self._watch_call: Any = None
        self._watch_over = False
        self.pool.on_switch(self._watch_anew)

    def call(
        self,
        method: str,
        request: Any,
        timeout: float | None = None,
        quit: threading.Event | None = None,
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
                    answer = getattr(line.stub, method)(request, timeout=limit)
                except grpc.RpcError as failure:
                    error = error_of(failure, address, request_id)
                    line.proven |= error.reason is not None
                else:
                    line.proven = True
                    return answer
            if isinstance(error, Unreachable):
                if address not in known:
                    where = (address, self.settings.credentials, self.settings.server_name)
                    known[address] = diagnose(*where, min(self.settings.connect_timeout, 2.0))
                error = known[address] or error
                error.request_id = request_id
            if moves_on(error):
                self.pool.move_on(address)
            delay = attempts.after(error, now())
            if delay is None or quit.wait(delay):
                raise error

    def watch(self) -> None:
        """Has the broker tell what happens to the client's leases."""
        with self._watch_lock:
            if self._watching or self.stopped.is_set():
                return
            self._watching = True
        threading.Thread(target=self._watch, name="leasehold-watch", daemon=True).start()

    def close(self) -> None:
        """Ends everything."""
        self.stopped.set()
        self.watchers.end()
        self._watch_anew()
        self.pool.close()

    def _watch_anew(self) -> None:
        self._watch_over = True
        if self._watch_call is not None:
            self._watch_call.cancel()

    def _watch(self) -> None:
        token, failures = "", 0
        while not self.stopped.is_set():
            began = now()
            self._watch_over = False
            try:
                with self.pool.borrow(failures) as (line, address):
                    self._watch_call = call = line.stub.WatchLeases(pb.WatchLeasesRequest(resume_token=token))
                    if self._watch_over:
                        call.cancel()
                    for response in call:
                        if response.HasField("lease_event"):
                            event = response.lease_event
                            self.watchers.tell(event.change, lease_of(event.lease))
                        token, failures = response.resume_token, 0
                self.pool.move_on(address)
            except grpc.RpcError as failure:
                error = error_of(failure, address)
                if self._watch_over and not self.stopped.is_set():
                    # It is begun anew with a new certificate.
                    continue
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
            self.stopped.wait(min(0.1 * 2 ** min(failures, 10), LONGEST_DELAY))


class Client:
    """A client of the broker. It connects when it is first used, and again whenever it has to; safe to share.

    `addresses` is `host:port`, several of them separated by commas, or a list: they are asked in turn when one does not
    answer. `identity` is a folder with `tls.crt`, `tls.key` and `ca.crt`; or the three files are given as `cert`, `key`
    and `ca`, by their paths or as PEM bytes. Files are read again when they change, and calls go on meanwhile.
    `server_name` is a DNS name or IP address in the broker's certificate, where it is not the one that is connected to.
    `timeout` is how many seconds a call may take with all its repetitions, `connect_timeout` a connection.

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
        self._close = weakref.finalize(self, self._core.close)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **others: Any) -> Client:
        """A client as the environment says, with the constructor's arguments where they are given.

        `LEASEHOLD_ADDR`, `LEASEHOLD_IDENTITY`, `LEASEHOLD_CERT`, `LEASEHOLD_KEY`, `LEASEHOLD_CA` and
        `LEASEHOLD_SERVER_NAME`.
        """
        return cls(**{**_settings.from_env(os.environ if environ is None else environ), **others})

    def lease(self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = ()) -> Leased:
        """Takes a lease and keeps it in the background, until it is closed: use it with `with`.

        It is renewed at two thirds of its life, and moved to the new version when the secret is rotated. Without `ttl`
        it has the secret's default, without `fields` all of them.
        """
        fields = _calls.names(fields)
        # First the watch, so that nothing of the lease goes untold.
        self._core.watch()
        sent, holding = 0.0, None
        while holding is None or is_late(holding, sent, now()):
            sent = now()
            holding = self.issue_lease(secret, ttl=ttl, fields=fields)
        return Leased(self, self._core, holding, sent, ttl, fields)

    def issue_lease(
        self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = (), request_id: str | None = None
    ) -> Holding:
        """Takes a lease that nobody keeps. `request_id` names the request in the audit journal."""
        request = _calls.issue(secret, ttl, fields, request_id)
        return _calls.issued(self._core.call("IssueLease", request))

    def renew_lease(
        self, lease_id: str, *, ttl: Seconds | None = None, accept_rotation: bool = False
    ) -> tuple[Lease, Value | None]:
        """Asks for more time; with `accept_rotation` moves a static lease to the current version, and has its value."""
        return _calls.renewed(self._core.call("RenewLease", _calls.renew(lease_id, ttl, accept_rotation)))

    def revoke_lease(self, lease_id: str, *, reason: str = "") -> Lease:
        """Gives a lease back. One that has ended already is a success."""
        return lease_of(self._core.call("RevokeLease", _calls.revoke(lease_id, reason)).lease)

    def get_lease(self, lease_id: str) -> Lease:
        """Looks at a lease; never gives the value again."""
        return lease_of(self._core.call("GetLease", pb.GetLeaseRequest(lease_id=lease_id)).lease)

    def list_leases(self, *, secret: str | None = None, states: Iterable[LeaseState] = ()) -> Iterator[Lease]:
        """One's own leases, page by page as they are read; ended ones too, until the broker forgets them."""
        states, token = tuple(states), ""
        while True:
            page = self._core.call("ListLeases", _calls.list_page(secret, states, token))
            yield from map(lease_of, page.leases)
            token = page.next_page_token
            if not token:
                return

    def close(self) -> None:
        """Ends all connections. Leases that are still held end at their time: close them first."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
