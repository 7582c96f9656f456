"""The broker's calls as both clients make them: requests, and what is read from the answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from leasehold._errors import ConfigurationError, NotUnderstood
from leasehold._lease import Holding, Lease, LeaseState, lease_of, value_of
from leasehold._secret import Value
from leasehold.v1 import lease_pb2
from leasehold.v1 import lease_service_pb2 as pb

Seconds = float | timedelta
"""A time: seconds, or a `timedelta`."""


def new_request_id() -> str:
    """A name for one request and its repetitions."""
    return str(uuid.uuid4())


def names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names of fields, and not the letters of one."""
    if isinstance(fields, str):
        raise ConfigurationError("fields is a list of names, not one text")
    return tuple(fields)


def issue(secret: str, ttl: Seconds | None, fields: Iterable[str], request_id: str | None) -> pb.IssueLeaseRequest:
    """Asks for a lease."""
    request_id = request_id or new_request_id()
    return pb.IssueLeaseRequest(secret=secret, ttl=_duration(ttl), fields=names(fields), request_id=request_id)


def renew(lease_id: str, ttl: Seconds | None, accept_rotation: bool) -> pb.RenewLeaseRequest:
    """Asks for more time."""
    return pb.RenewLeaseRequest(
        lease_id=lease_id, ttl=_duration(ttl), accept_rotation=accept_rotation, request_id=new_request_id()
    )


def revoke(lease_id: str, reason: str) -> pb.RevokeLeaseRequest:
    """Gives a lease back."""
    return pb.RevokeLeaseRequest(lease_id=lease_id, reason=reason, request_id=new_request_id())


def list_page(secret: str | None, states: Iterable[LeaseState], page_token: str) -> pb.ListLeasesRequest:
    """Asks for a page of leases."""
    wanted = [f"LEASE_STATE_{state.name}" for state in states]
    chosen = lease_pb2.LeaseFilter(secret=secret or "", states=wanted)
    return pb.ListLeasesRequest(page_token=page_token, filter=chosen)


def issued(response: pb.IssueLeaseResponse) -> Holding:
    """A lease with its value."""
    if not response.HasField("value"):
        raise NotUnderstood("the broker's answer cannot be understood: `value` is missing")
    return Holding(lease_of(response.lease), value_of(response.value))


def renewed(response: pb.RenewLeaseResponse) -> tuple[Lease, Value | None]:
    """The lease, and its value if it was moved to another version."""
    return lease_of(response.lease), value_of(response.value) if response.HasField("value") else None


def _duration(seconds: Seconds | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromTimedelta(seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds))
    return duration
