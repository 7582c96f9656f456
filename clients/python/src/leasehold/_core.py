"""What the threads of a client share: its connections, its calls and its watch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import grpc

from leasehold import _settings
from leasehold._attempts import Attempts, Manner, moves_on
from leasehold._clock import now
from leasehold._diagnosis import diagnose
from leasehold._errors import ClientClosed, Error, Unreachable, error_of
from leasehold._keeper import LONGEST_DELAY
from leasehold._lease import lease_of
from leasehold._pool import Pool
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
