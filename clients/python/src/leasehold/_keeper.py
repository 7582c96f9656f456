"""What is to be done for a lease to be kept, and when.

Pure: it is told the time and what came of each call, so that the threads and the tasks that drive it do the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from leasehold._calls import new_request_id
from leasehold._changes import Change, Ended, Failing, Recovered, Replaced, Standing, WhyEnded
from leasehold._errors import Denied, Error, Timeout, Unreachable
from leasehold._lease import Holding, Lease
from leasehold.v1 import lease_service_pb2 as pb

LONGEST_SLEEP = 30.0
LONGEST_CALL = 10.0
REPEATED = 3.0
TWO_THIRDS = 2 / 3
FIRST_DELAY = 0.25
LONGEST_DELAY = 5.0
LONGEST_DELAY_DENIED = 30.0
SPLAY = 0.25
"""A rotation is told to all holders at once; they need not all come at once."""

_ENDS: dict[int, WhyEnded] = {
    pb.LEASE_CHANGE_REVOKED: "revoked",
    pb.LEASE_CHANGE_EXPIRED: "expired",
    pb.LEASE_CHANGE_RETIRED: "retired",
}
_OVER = frozenset({"LEASE_EXPIRED", "LEASE_REVOKED", "LEASE_NOT_ACTIVE"})


@dataclass(frozen=True)
class Renew:
    """Ask for more time."""

    lease_id: str


@dataclass(frozen=True)
class Take:
    """Take a new lease, with a request that was perhaps sent before and not answered."""

    request_id: str
    sent: float


@dataclass(frozen=True)
class GiveBack:
    """Revoke one that is not needed any more."""

    lease_id: str


Action = Renew | Take | GiveBack


@dataclass
class _Held:
    """A lease, and its end by our own clock.

    `offset` turns the broker's clock into ours. It is taken between the sending of the request and the lease's
    beginning, so it errs to an earlier end.
    """

    holding: Holding
    offset: float
    end: float
    term: float
    """What it was given at the beginning."""

    @staticmethod
    def of(holding: Holding, sent: float) -> _Held:
        lease = holding.lease
        offset = sent - lease.issued_at.timestamp()
        term = (lease.expires_at - lease.issued_at).total_seconds()
        return _Held(holding, offset, lease.expires_at.timestamp() + offset, term)


class Keeper:
    """Keeps one lease."""

    def __init__(self, holding: Holding, sent: float, now: float, tell: Callable[[Change], None]) -> None:
        self._tell = tell
        self._held = _Held.of(holding, sent)
        self._older: list[_Held] = []
        self._give_back: list[str] = []
        self._give_back_due = 0.0
        self._give_back_failures = 0
        self._failures = 0
        self._last_failure: tuple[type[Error], str | None] | None = None
        self._over: WhyEnded | None = None
        self._wish: Literal["renew", "take"] = "renew"
        self._wants_new = False
        self._due = self._renew_at = 0.0
        self._asked: Take | None = None
        self._plan(now)

    @property
    def holding(self) -> Holding:
        """The newest."""
        return self._held.holding

    @property
    def over(self) -> WhyEnded | None:
        """Why it is not to be used any more."""
        return self._over

    def is_over(self, now: float) -> bool:
        """Whether it is not to be used any more, also if nobody has noticed yet."""
        return self._over is not None or now >= self._held.end

    @property
    def standing(self) -> Standing:
        """How it stands."""
        if self._over is not None:
            return "ended"
        return "failing" if self._failures else "kept"

    def ids(self) -> list[str]:
        """The leases that the broker may tell something about."""
        return [held.holding.lease.id for held in (self._held, *self._older)]

    def open(self) -> list[str]:
        """Everything that is to be given back in the end."""
        return list(dict.fromkeys([*self._give_back, *self.ids()]))

    def next(self, now: float) -> tuple[Action | None, float]:
        """What is to be done now; or nothing, and how long nothing has to be done."""
        self._older = [held for held in self._older if held.end > now]
        if self._over is None and now >= self._held.end:
            self._ended("expired", now)
        if now >= self._due:
            return (Renew(self._held.holding.lease.id) if self._wish == "renew" else self._take(now)), 0.0
        if self._give_back and now >= self._give_back_due:
            return GiveBack(self._give_back[0]), 0.0
        wake = min(self._due, now + LONGEST_SLEEP)
        if self._over is None:
            wake = min(wake, self._held.end)
        if self._give_back:
            wake = min(wake, self._give_back_due)
        return None, max(wake - now, 0.0)

    def patience(self, now: float) -> float:
        """How long a call may take: it is to be noticed in time that what is held is over."""
        left = self._held.end - now
        return min(max(left, 1.0), LONGEST_CALL) if self._over is None else LONGEST_CALL

    def renewed(self, lease: Lease, now: float) -> None:
        """The broker gave more time."""
        if lease.id != self._held.holding.lease.id or self._over is not None:
            return
        self._held.holding = Holding(lease, self._held.holding.value)
        self._held.end = lease.expires_at.timestamp() + self._held.offset
        if self._wants_new:
            self._wish, self._due = "take", now + _delay(self._failures + 1, None)
            self._renew_at = now + (self._held.end - now) * TWO_THIRDS
            return
        if self._failures:
            self._failures, self._last_failure = 0, None
            self._tell(Recovered())
        self._plan(now)

    def taken(self, holding: Holding, sent: float, now: float) -> None:
        """There is a new lease; what was held before is kept until the holder has switched."""
        if self._over is None:
            self._older.append(self._held)
        self._held = _Held.of(holding, sent)
        self._over = None
        self._wants_new = False
        self._asked = None
        self._failures, self._last_failure = 0, None
        self._plan(now)
        self._tell(Replaced(holding))

    def given_back(self, lease_id: str, error: Error | None, now: float) -> None:
        """It is revoked, or not: then it is tried again, until it is over anyway."""
        if error is None or isinstance(error, Denied):
            self._give_back = [other for other in self._give_back if other != lease_id]
            self._give_back_failures = 0
            return
        # The others have their turn.
        self._give_back = [*(other for other in self._give_back if other != lease_id), lease_id]
        self._give_back_failures += 1
        if self._give_back_failures > 8 * len(self._give_back):
            self._give_back.clear()
        self._give_back_due = now + _delay(self._give_back_failures, error)

    def failed(self, error: Error, now: float) -> None:
        """Neither more time nor a new lease was to be had."""
        if not isinstance(error, (Unreachable, Timeout)):
            self._asked = None
        if self._wish == "renew" and error.reason == "LEASE_AT_MAXIMUM_TTL":
            self._wish, self._due = "take", now
            return
        if self._wish == "renew" and error.reason in _OVER:
            self._ended("expired" if error.reason == "LEASE_EXPIRED" else "revoked", now)
            return
        if self._wish == "renew" and isinstance(error, Denied):
            # Policy may still allow what is new, or the broker may not know the lease any more.
            self._wish = "take"
        elif self._wish == "take" and self._can_renew() and now >= self._renew_at:
            # What is held is kept while nothing new is to be had.
            self._wish = "renew"
        elif self._wants_new:
            self._wish = "take"
        self._failures += 1
        delay = _delay(self._failures, error)
        left = self._held.end - now
        if self._over is None and left > 0:
            delay = min(delay, max(left / 3, FIRST_DELAY))
        self._due = now + delay
        failure = (type(error), error.reason)
        if self._over is None and failure != self._last_failure:
            self._tell(Failing(error, self._held.holding.lease.expires_at))
        self._last_failure = failure

    def notice(self, change: int, lease: Lease, now: float) -> None:
        """The broker tells something of a lease (`LeaseChange`)."""
        ended = _ENDS.get(change)
        if ended is not None and ended != "retired":
            self._older = [held for held in self._older if held.holding.lease.id != lease.id]
        if lease.id != self._held.holding.lease.id or self._over is not None:
            return
        if ended is not None:
            self._ended(ended, now)
        elif change in (pb.LEASE_CHANGE_ROTATED, pb.LEASE_CHANGE_DRAINING) and not self._wants_new:
            self._wants_new = True
            self._wish, self._due = "take", min(self._due, now + random.uniform(0.0, SPLAY))

    def switched(self, to: Holding, now: float) -> None:
        """The holder uses `to` and nothing older, which is given back."""
        order = [*self._older, self._held]
        index = next((n for n, held in enumerate(order) if held.holding.lease.id == to.lease.id), 0)
        self._give_back += [held.holding.lease.id for held in order[:index]]
        self._older = self._older[index:]
        self._give_back_due = min(self._give_back_due, now)

    def _take(self, now: float) -> Take:
        # Asked once more with the same id, the broker gives the lease of an answer that was lost; but not for so long
        # that this could be over.
        if self._asked is None or now - self._asked.sent > REPEATED:
            self._asked = Take(new_request_id(), now)
        return self._asked

    def _can_renew(self) -> bool:
        lease = self._held.holding.lease
        return self._over is None and self._wants_new and lease.expires_at < lease.max_expires_at

    def _ended(self, why: WhyEnded, now: float) -> None:
        self._over = why
        self._wish = "take"
        # While the broker is away, its end does not make it come back sooner.
        self._due = max(self._due, now) if self._failures else now
        self._tell(Ended(why))

    def _plan(self, now: float) -> None:
        """At a jittered two thirds of what is left; or, at its longest life, when a third of a whole one is left.

        So a holder who has to move has as long for it however the longest life falls.
        """
        lease, part = self._held.holding.lease, TWO_THIRDS * random.uniform(0.9, 1.08)
        if lease.expires_at < lease.max_expires_at:
            self._wish, self._due = "renew", now + max(self._held.end - now, 0.0) * part
        else:
            self._wish, self._due = "take", max(self._held.end - self._held.term * (1 - part), now)
        self._renew_at = self._due


def is_late(holding: Holding, sent: float, now: float) -> bool:
    """Whether a lease could be over already, because its request had to be repeated for so long."""
    lease = holding.lease
    return now - sent >= (lease.expires_at - lease.issued_at).total_seconds()


def _delay(failures: int, error: Error | None) -> float:
    longest = LONGEST_DELAY_DENIED if isinstance(error, Denied) else LONGEST_DELAY
    delay = min(FIRST_DELAY * 2.0 ** min(failures - 1, 16), longest) * random.uniform(0.6, 1.0)
    return max(delay, min((error and error.retry_after) or 0.0, 60.0))
