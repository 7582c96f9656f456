"""What a holder is told, in a form that never piles up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from leasehold._errors import Error
from leasehold._lease import Holding


@dataclass(frozen=True)
class Replaced:
    """There is something newer to use: another version, or another credential. Say `switched` when it is in use."""

    holding: Holding
    """What to use from now on."""


@dataclass(frozen=True)
class Failing:
    """The lease cannot be kept at the moment; it is tried again until it can. What is held is good until then."""

    error: Error
    """Why."""
    until: datetime
    """The end of what is held, by the broker's clock."""


@dataclass(frozen=True)
class Recovered:
    """It is kept again."""


WhyEnded = Literal["expired", "revoked", "retired"]
"""Its time came; somebody else ended it before; or the version was retired while the lease was on it."""


@dataclass(frozen=True)
class Ended:
    """What is held is not to be used any more. A new lease is tried for, and told as `Replaced`."""

    why: WhyEnded
    """Why."""


Change = Replaced | Failing | Recovered | Ended
"""What changes about a lease that is kept."""

Standing = Literal["kept", "failing", "ended"]
"""How a guard stands."""


class Backlog:
    """What one receiver has not seen yet: of each kind the latest, so at most three."""

    def __init__(self) -> None:
        self._waiting: deque[Change] = deque()

    def push(self, change: Change) -> None:
        """Adds it, and takes away what it overtakes."""
        kind = _kind(change)
        if isinstance(change, Replaced):
            # A new lease is good, whatever was said of the one before.
            self._waiting.clear()
        self._waiting = deque([*(other for other in self._waiting if _kind(other) != kind), change])

    def pop(self) -> Change | None:
        """The oldest."""
        return self._waiting.popleft() if self._waiting else None

    def __len__(self) -> int:
        return len(self._waiting)


def _kind(change: Change) -> str:
    return "standing" if isinstance(change, (Failing, Recovered)) else type(change).__name__
