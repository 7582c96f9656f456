"""Connections to the brokers: one channel for each address, made anew when the certificate's files change.

A new certificate takes over when a connection with it stands, so a broken one never replaces one that works; what goes
on over the old connections ends there before they are closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import grpc

from leasehold._clock import now
from leasehold._credentials import Credentials, Stamp
from leasehold._errors import ClientClosed, CredentialError
from leasehold._settings import Settings

C = TypeVar("C")

_log = logging.getLogger("leasehold")

KEEPALIVE_MS = 20_000
CHANGING = 2.0
"""Seconds in which files may change one after the other."""


class Adapter(Protocol[C]):
    """What differs between the channels of asyncio and the others."""

    def open(self, address: str, credentials: grpc.ChannelCredentials, options: list[tuple[str, Any]]) -> C:
        """A channel; it connects when it is used."""

    def when_ready(self, channel: C, then: Callable[[], None]) -> None:
        """Has it connect, now and until it succeeds, and says so once."""

    def close(self, channel: C) -> None:
        """Closes it. What goes on over it is cancelled."""


class Generation(Generic[C]):
    """The channels of one certificate."""

    def __init__(self, credentials: Credentials, stamp: Stamp) -> None:
        self.stamp = stamp
        self.users = 0
        self.retired = False
        self.channels: dict[str, C] = {}
        self.grpc = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.cert)


class _Refused:
    """Files that cannot be used, perhaps because not all of them are written yet."""

    def __init__(self, stamp: Stamp, error: CredentialError, since: float) -> None:
        self.stamp = stamp
        self._error = error
        self._since = since
        self._said = False

    def say(self, now: float) -> None:
        """Says so once, if they stay as they are."""
        if not self._said and now - self._since > CHANGING:
            self._said = True
            _log.warning("the new certificate is not used, the one before goes on: %s", self._error)


class Pool(Generic[C]):
    """All channels of one client. Its methods can be called from any thread."""

    def __init__(self, settings: Settings, adapter: Adapter[C]) -> None:
        self._settings = settings
        self._adapter = adapter
        self._lock = threading.RLock()
        self._preferred = 0
        self._closed = False
        self._listeners: list[Callable[[], None]] = []
        self._refused: _Refused | None = None
        stamp = settings.credentials.stamp()
        self._current: Generation[C] = Generation(settings.credentials.load(), stamp)
        self._next: Generation[C] | None = None

    @property
    def addresses(self) -> int:
        """How many brokers there are."""
        return len(self._settings.addresses)

    def on_switch(self, listener: Callable[[], None]) -> None:
        """Has it called, from any thread, when a new certificate has taken over."""
        with self._lock:
            self._listeners.append(listener)

    @contextmanager
    def borrow(self, attempt: int = 0) -> Iterator[tuple[C, str]]:
        """A channel that is not closed meanwhile, with its address."""
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            self._refresh()
            # The old certificate may be what is wrong: every other repetition is made with the new one.
            generation = self._next if self._next is not None and attempt % 2 == 1 else self._current
            address = self._settings.addresses[self._preferred % self.addresses]
            channel = self._channel(generation, address)
            generation.users += 1
        try:
            yield channel, address
        finally:
            with self._lock:
                generation.users -= 1
                self._drain(generation)

    def refresh(self) -> None:
        """Looks whether there is a new certificate, for a client that has nothing to ask for long."""
        with self._lock:
            if not self._closed:
                self._refresh()

    def move_on(self, address: str) -> None:
        """Prefers another broker to this one."""
        with self._lock:
            if self._settings.addresses[self._preferred % self.addresses] == address:
                self._preferred += 1

    def close(self) -> None:
        """Closes everything."""
        with self._lock:
            self._closed = True
            for generation in (self._current, self._next):
                if generation is not None:
                    generation.users = 0
                    self._retire(generation)

    def _channel(self, generation: Generation[C], address: str) -> C:
        channel = generation.channels.get(address)
        if channel is None:
            channel = self._adapter.open(address, generation.grpc, options(self._settings))
            generation.channels[address] = channel
        return channel

    def _refresh(self) -> None:
        stamp = self._settings.credentials.stamp()
        newest = self._current if self._next is None else self._next
        if stamp == newest.stamp:
            self._refused = None
            return
        if self._refused is not None and self._refused.stamp == stamp:
            self._refused.say(now())
            return
        try:
            generation: Generation[C] = Generation(self._settings.credentials.load(), stamp)
        except CredentialError as error:
            self._refused = _Refused(stamp, error, now())
            return
        self._refused = None
        if self._next is not None:
            self._retire(self._next)
        self._next = generation
        address = self._settings.addresses[self._preferred % self.addresses]
        self._adapter.when_ready(self._channel(generation, address), lambda: self._take_over(generation))

    def _take_over(self, generation: Generation[C]) -> None:
        with self._lock:
            if self._next is not generation or self._closed:
                return
            before, self._current, self._next = self._current, generation, None
            listeners = list(self._listeners)
            self._retire(before)
        _log.info("a new certificate is in use")
        for listener in listeners:
            listener()

    def _retire(self, generation: Generation[C]) -> None:
        generation.retired = True
        self._drain(generation)

    def _drain(self, generation: Generation[C]) -> None:
        if generation.retired and generation.users == 0:
            for channel in generation.channels.values():
                self._adapter.close(channel)
            generation.channels.clear()


def options(settings: Settings) -> list[tuple[str, Any]]:
    """What each channel is told."""
    connect = int(settings.connect_timeout * 1000)
    chosen: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", "leasehold-python/0.1.0"),
        # Channels that differ in their certificate must not share a connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS),
        ("grpc.http2.max_pings_without_data", 0),
        # The time that a connection may take, by another name.
        ("grpc.min_reconnect_backoff_ms", connect),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Whoever may read a secret would otherwise be asked by a proxy of the environment.
        ("grpc.enable_http_proxy", 0),
    ]
    if settings.server_name is not None:
        chosen.append(("grpc.ssl_target_name_override", settings.server_name))
    return chosen
