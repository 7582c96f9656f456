"""A new certificate takes over when it has proved itself, and what goes on over the old one ends there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from leasehold import ClientClosed, CredentialError
from leasehold._credentials import Credentials, Source, Stamp
from leasehold._pool import CHANGING, Pool, options
from leasehold._settings import Settings


class Files(Source):
    """Files whose content the test says."""

    def __init__(self) -> None:
        self.now: Stamp = (1,)
        self.fault: CredentialError | None = None

    def stamp(self) -> Stamp:
        return self.now

    def load(self) -> Credentials:
        if self.fault is not None:
            raise self.fault
        return Credentials(b"ca", b"cert", b"key")


class Channel:
    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False
        self.ready: Callable[[], None] | None = None


class Channels:
    def __init__(self) -> None:
        self.opened: list[Channel] = []

    def open(self, address: str, credentials: grpc.ChannelCredentials, options: list[tuple[str, Any]]) -> Channel:
        channel = Channel(address)
        self.opened.append(channel)
        return channel

    def when_ready(self, channel: Channel, then: Callable[[], None]) -> None:
        channel.ready = then

    def close(self, channel: Channel) -> None:
        channel.closed = True


class Scene:
    def __init__(self, *addresses: str) -> None:
        self.files, self.channels = Files(), Channels()
        self.settings = Settings(addresses or ("a:1",), self.files, None, 30.0, 5.0)
        self.pool = Pool(self.settings, self.channels)

    def used(self, attempt: int = 0) -> Channel:
        with self.pool.borrow(attempt) as (channel, _):
            assert not channel.closed
            return channel

    def change(self, stamp: int) -> Channel:
        """The files change; the channel that is tried with the new ones."""
        self.files.now = (stamp,)
        self.used()
        return self.channels.opened[-1]


def ready(channel: Channel) -> None:
    assert channel.ready is not None
    channel.ready()


def test_a_new_certificate_takes_over_when_a_connection_with_it_stands() -> None:
    scene = Scene()
    heard: list[str] = []
    scene.pool.on_switch(lambda: heard.append("switched"))
    old = scene.used()
    new = scene.change(2)
    assert new is not old
    assert scene.used() is old, "the new one has not proved itself"
    assert scene.used(attempt=1) is new, "the old one may be what is wrong"
    with scene.pool.borrow() as (in_use, _):
        assert in_use is old
        ready(new)
        assert heard == ["switched"]
        assert scene.used() is new
        assert not old.closed, "a call goes on over it"
    assert old.closed
    assert not new.closed


def test_one_that_never_connects_never_takes_over_and_is_given_up_for_the_next() -> None:
    scene = Scene()
    old = scene.used()
    broken = scene.change(2)
    for _ in range(3):
        assert scene.used() is old
    good = scene.change(3)
    assert broken.closed
    ready(broken)
    assert scene.used() is old, "it comes too late"
    ready(good)
    assert scene.used() is good


def test_files_that_cannot_be_used_are_told_once_and_only_when_they_stay_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = [0.0]
    monkeypatch.setattr("leasehold._pool.now", lambda: time[0])
    scene = Scene()
    old = scene.used()
    scene.files.now, scene.files.fault = (2,), CredentialError("they do not go together")
    with caplog.at_level(logging.WARNING, "leasehold"):
        assert scene.used() is old
        assert scene.used() is old
        assert caplog.messages == [], "the key may be on its way"
        time[0] = CHANGING + 0.1
        for _ in range(3):
            assert scene.used() is old
        assert len(caplog.messages) == 1
        assert "they do not go together" in caplog.messages[0]
    scene.files.now, scene.files.fault = (3,), None
    new = scene.change(4)
    ready(new)
    assert scene.used() is new


def test_files_that_are_put_back_are_no_change() -> None:
    scene = Scene()
    scene.files.now, scene.files.fault = (2,), CredentialError("bad")
    old = scene.used()
    scene.files.now, scene.files.fault = (1,), None
    assert scene.used() is old
    assert len(scene.channels.opened) == 1


def test_another_broker_is_preferred_until_it_fails_too() -> None:
    scene = Scene("a:1", "b:1")
    assert scene.used().address == "a:1"
    scene.pool.move_on("a:1")
    scene.pool.move_on("a:1")
    assert scene.used().address == "b:1", "two calls that failed at the same one move on once"
    scene.pool.move_on("b:1")
    assert scene.used().address == "a:1"
    assert len(scene.channels.opened) == 2


def test_what_is_closed_stays_closed() -> None:
    scene = Scene()
    channel, new = scene.used(), scene.change(2)
    scene.pool.close()
    assert channel.closed
    assert new.closed
    ready(new)
    with pytest.raises(ClientClosed):
        scene.used()


def test_a_channel_has_the_name_that_the_broker_is_known_by() -> None:
    scene = Scene()
    named = Settings(("a:1",), scene.files, "broker.example", 30.0, 2.5)
    assert ("grpc.ssl_target_name_override", "broker.example") in options(named)
    assert ("grpc.min_reconnect_backoff_ms", 2500) in options(named)
    assert not any("override" in name for name, _ in options(scene.settings))
