"""How often a call is tried: pure, so that both clients do the same."""

from __future__ import annotations

import random
from typing import Literal

from leasehold._errors import (
    BrokerUntrusted,
    Error,
    IdentityRefused,
    Refused,
    Throttled,
    Timeout,
    Unavailable,
    Unreachable,
)

HURRY = 1.0
"""A broker that has never answered is given so many seconds while there are others to ask."""
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0

# What another broker, or the same one a moment later, may do. A back end that does not answer is not among these: its
# name and its delay are the caller's to know.
_PASSING = frozenset(
    {
        "BROKER_STOPPING",
        "CONFLICT",
        "CONNECTION_DISPLACED",
        "CONNECTION_IDLE",
        "LEDGER_UNAVAILABLE",
    }
)


Manner = Literal["usual", "brief", "patient"]
"""A brief caller asks each broker once, for it has a plan of its own for what comes then. A patient one has nobody who
waits, and would rather be told late than that it asks too often."""


class Attempts:
    """The attempts of one call, within one deadline."""

    def __init__(self, timeout: float, now: float, addresses: int = 1, manner: Manner = "usual") -> None:
        self._deadline = now + timeout
        self._addresses = addresses
        self._manner = manner
        self.count = 0

    def limit(self, now: float, proven: bool) -> float:
        """How long the next attempt may take: with several brokers, one that says nothing leaves time for another.

        `proven` is one that has answered before, over the same connection.
        """
        left = max(self._deadline - now, 0.001)
        if self._addresses == 1:
            return left
        if not proven and self.count + 1 < self._addresses:
            return min(left / 2, HURRY)
        return max(left / 2, min(left, 1.0))

    def after(self, error: Error, now: float) -> float | None:
        """In how many seconds it is tried again; `None` when the error is the answer."""
        self.count += 1
        left = self._deadline - now
        if not self._passes(error):
            return None
        # The first time round, the other brokers are asked at once.
        if moves_on(error) and self.count < self._addresses:
            return 0.0 if left > 0 else None
        if self._manner == "brief":
            return None
        delay = min(FIRST_DELAY * 2 ** min(self.count, 16), LONGEST_DELAY) * random.uniform(0.5, 1.0)
        delay = max(delay, error.retry_after or 0.0)
        return delay if delay < left else None

    def _passes(self, error: Error) -> bool:
        if isinstance(error, BrokerUntrusted):
            return self.count < self._addresses
        if isinstance(error, (Unreachable, Timeout)):
            return True
        if isinstance(error, IdentityRefused):
            # Perhaps there is a new certificate by now.
            return self.count == 1
        if self._manner == "patient" and isinstance(error, (Unavailable, Throttled)):
            return True
        return isinstance(error, (Unavailable, Refused)) and error.reason in _PASSING


def moves_on(error: Error) -> bool:
    """Whether another broker is asked next."""
    return isinstance(error, (Unreachable, Timeout)) or error.reason in {"BROKER_STOPPING", "LEDGER_UNAVAILABLE"}
