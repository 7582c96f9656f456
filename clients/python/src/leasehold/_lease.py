"""What a lease is, as the broker tells it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from google.protobuf.timestamp_pb2 import Timestamp

from leasehold._errors import NotUnderstood
from leasehold._secret import Secret, Value
from leasehold.v1 import lease_pb2, secret_pb2


class LeaseState(enum.Enum):
    """Where a lease is in its life. One whose time has passed is over, whatever is said here."""

    PENDING = "pending"
    """The intent is durable; the credential may or may not exist yet."""
    ACTIVE = "active"
    """Held."""
    REVOKING = "revoking"
    """Being ended at the back end."""
    REVOKED = "revoked"
    """Ended before its time."""
    EXPIRED = "expired"
    """Ended at its time."""
    QUARANTINED = "quarantined"
    """Its credential could not be ended at the back end yet."""
    FORGOTTEN = "forgotten"
    """An operator gave it up while its credential could not be ended."""
    UNKNOWN = "unknown"
    """A state of a later version of the broker."""


@dataclass(frozen=True)
class Lease:
    """One principal's time-bounded hold on one version of a secret, without the value. Its id grants nothing."""

    id: str
    """Its name, `lease-...`."""
    holder: str
    """The SPIFFE ID of the principal whose lease it is."""
    secret: str
    """The secret's path."""
    version: str | None
    """The version held, in the back end's own words."""
    provider: str
    """The configured name of the back end."""
    dynamic: bool
    """Whether the credential was made for this lease alone."""
    fields: tuple[str, ...]
    """The fields that were asked for; none for all."""
    state: LeaseState
    """Where it is in its life."""
    issued_at: datetime
    """When it was issued, by the broker's clock, as all times here."""
    expires_at: datetime
    """When it ends unless it is renewed: the value is not used any more from then on."""
    max_expires_at: datetime
    """When it ends at the latest."""
    renewals: int
    """How often it was renewed."""
    stale_since: datetime | None = None
    """When the back end last confirmed the value, if the broker lent it past its freshness."""
    ended_at: datetime | None = None
    """When it ended, if it has."""


@dataclass(frozen=True)
class Holding(Mapping[str, Secret]):
    """One lease with its value: a mapping of the fields, `holding["password"].expose()`.

    Two are equal that are of the same lease on the same version, also when it was renewed meanwhile.
    """

    lease: Lease
    """The lease, as it was when it was last heard of."""
    value: Value
    """All fields that were asked for."""

    def __getitem__(self, name: str) -> Secret:
        return self.value[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Holding):
            return NotImplemented
        return (self.lease.id, self.lease.version) == (other.lease.id, other.lease.version)

    def __hash__(self) -> int:
        return hash(self.lease.id)


def lease_of(message: lease_pb2.Lease) -> Lease:
    """Parses a lease, and does not just copy it."""
    for name in ("id", "holder", "secret"):
        if not getattr(message, name):
            raise NotUnderstood(f"the broker's answer cannot be understood: `{name}` is missing")
    try:
        name = lease_pb2.LeaseState.Name(message.state).removeprefix("LEASE_STATE_")
        state = LeaseState[name]
    except (KeyError, ValueError):
        state = LeaseState.UNKNOWN
    return Lease(
        id=message.id,
        holder=message.holder,
        secret=message.secret,
        version=message.version or None,
        provider=message.provider,
        dynamic=message.kind == lease_pb2.LEASE_KIND_DYNAMIC,
        fields=tuple(message.fields),
        state=state,
        issued_at=_required(message, "issue_time"),
        expires_at=_required(message, "expire_time"),
        max_expires_at=_required(message, "max_expire_time"),
        renewals=message.renewal_count,
        stale_since=_optional(message, "stale_since_time"),
        ended_at=_optional(message, "end_time"),
    )


def value_of(message: secret_pb2.SecretValue) -> Value:
    """The fields of a message."""
    return Value(message.fields, message.content_type)


def _optional(message: lease_pb2.Lease, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToDatetime(tzinfo=timezone.utc)


def _required(message: lease_pb2.Lease, field: str) -> datetime:
    time = _optional(message, field)
    if time is None:
        raise NotUnderstood(f"the broker's answer cannot be understood: `{field}` is missing")
    return time
