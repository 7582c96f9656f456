"""Time that no one sets."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    """Seconds that go on while the machine sleeps, where it can tell: a lease does not wait for it to wake up."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
