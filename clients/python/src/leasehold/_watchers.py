"""Which guard the broker's notices are for."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from leasehold._guard import Kept
from leasehold._lease import Lease
from leasehold.v1 import lease_service_pb2 as pb

REMEMBERED = 512

_TOLD = frozenset(
    {
        pb.LEASE_CHANGE_REVOKED,
        pb.LEASE_CHANGE_EXPIRED,
        pb.LEASE_CHANGE_ROTATED,
        pb.LEASE_CHANGE_DRAINING,
        pb.LEASE_CHANGE_RETIRED,
    }
)


class Watchers:
    """The guards of one client, by their leases."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._guards: weakref.WeakValueDictionary[str, Kept] = weakref.WeakValueDictionary()
        self._early: OrderedDict[str, tuple[int, Lease]] = OrderedDict()

    def add(self, lease_id: str, kept: Kept) -> None:
        """Has it told of this lease, also what was told before the lease's own answer was read."""
        with self._lock:
            self._guards[lease_id] = kept
            early = self._early.pop(lease_id, None)
        if early is not None:
            kept.notice(*early)

    def end(self) -> None:
        """The client is closed: nobody is kept any more."""
        with self._lock:
            guards = list(self._guards.values())
        for kept in guards:
            kept.stop()

    def tell(self, change: int, lease: Lease) -> None:
        """Passes a notice on."""
        if change not in _TOLD:
            return
        with self._lock:
            kept = self._guards.get(lease.id)
            if kept is None:
                self._early[lease.id] = (change, lease)
                while len(self._early) > REMEMBERED:
                    self._early.popitem(last=False)
        if kept is not None:
            kept.notice(change, lease)
