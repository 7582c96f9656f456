"""What both guards have in common: what is held, who is told, and what a holder says."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from leasehold._changes import Change, Standing
from leasehold._clock import now
from leasehold._errors import LeaseEnded
from leasehold._keeper import Keeper
from leasehold._lease import Holding, Lease
from leasehold._secret import Secret


class Receiver(Protocol):
    """Whoever is told what changes."""

    def put(self, change: Change) -> None:
        """Something changed."""

    def end(self) -> None:
        """The guard is closed."""


class Kept:
    """The state that a guard and what keeps it in the background share. The guard itself can go away meanwhile."""

    def __init__(self, holding: Holding, sent: float) -> None:
        self.lock = threading.RLock()
        self.stopping = False
        self.wake: Callable[[], None] = lambda: None
        self.receivers: weakref.WeakSet[Receiver] = weakref.WeakSet()
        self.keeper = Keeper(holding, sent, now(), self._tell)

    def current(self) -> Holding:
        """What to use now."""
        with self.lock:
            if self.keeper.is_over(now()):
                why = {"revoked": "was revoked", "retired": "is on a version that was retired"}.get(
                    self.keeper.over or "", "has expired"
                )
                lease = self.keeper.holding.lease
                raise LeaseEnded(f"the lease {lease.id} on {lease.secret} {why}: its value is not to be used any more")
            return self.keeper.holding

    def notice(self, change: int, lease: Lease) -> None:
        """What the broker told."""
        with self.lock:
            self.keeper.notice(change, lease, now())
        self.wake()

    def stop(self) -> None:
        """Has the background end after what it is doing."""
        with self.lock:
            self.stopping = True
            for receiver in list(self.receivers):
                receiver.end()
        self.wake()

    def _tell(self, change: Change) -> None:
        if self.stopping:
            # That its leases are revoked is its own doing.
            return
        for receiver in list(self.receivers):
            receiver.put(change)


class Guard(Mapping[str, Secret]):
    """A secret that is held. As a mapping it has the fields of what to use now, each looked up anew.

    Looking one up raises `LeaseEnded` while nothing is held. To use several fields that belong together, take
    `current()` once.
    """

    def __init__(self, secret: str, kept: Kept) -> None:
        self._secret = secret
        self._kept = kept

    @property
    def secret(self) -> str:
        """The secret's path."""
        return self._secret

    @property
    def standing(self) -> Standing:
        """How it stands: `kept`, `failing` (it cannot be kept at the moment), or `ended`."""
        with self._kept.lock:
            return self._kept.keeper.standing

    def current(self) -> Holding:
        """What to use now: the newest version had.

        Raises `LeaseEnded` while nothing is held.
        """
        return self._kept.current()

    def switched(self, to: Holding) -> None:
        """Says that the holder uses `to` now and nothing older: the leases before it are given back.

        A holder who never says so has them until they end, or until the old version is retired at the end of its drain.
        """
        with self._kept.lock:
            self._kept.keeper.switched(to, now())
        self._kept.wake()

    def __getitem__(self, name: str) -> Secret:
        return self.current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.current())

    def __len__(self) -> int:
        return len(self.current())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        lease = self._kept.keeper.holding.lease
        return f"<{type(self).__name__} {self._secret} {lease.id} {self.standing}>"
