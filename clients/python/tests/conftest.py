"""What tests make leases of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from leasehold import Holding, Lease, LeaseState, Value

EPOCH = datetime(2026, 11, 22, tzinfo=timezone.utc)

Make = Callable[..., Holding]


def holding(
    name: str = "a", *, issued: float = 0, ttl: float = 60, max_ttl: float = 600, version: str = "v1"
) -> Holding:
    """A lease that was issued so many seconds after the epoch."""

    def at(seconds: float) -> datetime:
        return EPOCH + timedelta(seconds=issued + seconds)

    lease = Lease(
        id=f"lease-{name}",
        holder="spiffe://example.org/prod/payments/api",
        secret="prod/payments/db",
        version=version,
        provider="local",
        dynamic=False,
        fields=(),
        state=LeaseState.ACTIVE,
        issued_at=at(0),
        expires_at=at(min(ttl, max_ttl)),
        max_expires_at=at(max_ttl),
        renewals=0,
    )
    return Holding(lease, Value({"password": f"canary-{name}".encode()}))


@pytest.fixture
def make() -> Make:
    return holding
