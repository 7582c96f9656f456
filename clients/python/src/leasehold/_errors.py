"""Why a call failed, by what a caller can do about it. No text here ever holds a secret's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "leasehold.dev"
_DETAILS = "grpc-status-details-bin"


class Error(Exception):
    """Whatever this package raises."""

    reason: str | None = None
    """The broker's stable reason, such as `LEASE_EXPIRED`; `None` when it was no broker that spoke."""
    retry_after: float | None = None
    """In how many seconds it makes sense to try again, if the broker said so."""
    provider: str | None = None
    """The configured name of the back end that it is about, when it is about one."""
    request_id: str | None = None
    """The request's name in the broker's audit journal."""


class ConfigurationError(Error, ValueError):
    """The client was told something that makes no sense, or not enough."""


class CredentialError(Error):
    """The client's own certificate, key or trust bundle cannot be used."""


@dataclass(frozen=True)
class Explanation:
    """Why policy denied a call. It does not say whether there is such a secret, unless policy permits the call."""

    grounds: str
    """`FORBIDDEN` (a policy forbids it), `NOT_PERMITTED` (no policy permits it), `NOT_EVALUATED` (a policy could not be
    evaluated) or `PERMITTED` (policy permits it: there is no such thing)."""
    policies: tuple[str, ...]
    """A line for people on each policy that mattered: those that forbid it, then those that would have permitted it but
    for one thing."""
    principal: str
    """The caller as policies see it."""
    policy_set: str
    """The digest of the policies in force."""


class Denied(Error):
    """Policy does not allow it, or there is no such secret or lease: the broker does not say which."""

    explanation: Explanation | None = None
    """Why, for callers whom policy lets know (`ExplainDenial`); `None` for all others."""


class IdentityRefused(Error):
    """The broker does not take the client's certificate (any longer)."""


@dataclass(frozen=True)
class Violation:
    """One field of a request that is not what it must be."""

    field: str
    """The field's name in the request."""
    description: str
    """What is wrong with it."""


class InvalidRequest(Error):
    """The request is not what it must be."""

    violations: tuple[Violation, ...] = ()
    """Every field that is wrong."""


class Refused(Error):
    """The state of the lease, the secret or its back end does not allow it; trying again does not help by itself."""


class Throttled(Error):
    """Asked too often, or too much is held: `retry_after` says when to come again."""


class Unavailable(Error):
    """The broker, or what it needs, cannot answer now."""


class Unreachable(Unavailable):
    """There is no connection to the broker."""


class BrokerUntrusted(Unreachable):
    """What answers at the broker's address is not known to be the broker."""


class Timeout(Unavailable, TimeoutError):
    """There was no answer in time."""


class Failed(Error):
    """The broker failed. Its log says how."""


class NotUnderstood(Error):
    """The broker answered something that this version does not understand."""


class ClientClosed(Error):
    """The client was closed, or what it was asked for came too late."""


class LeaseEnded(Error):
    """What was held is over and not to be used any more. The guard goes on trying to have a new lease."""


class RpcFailure(Protocol):
    """What the errors of grpcio have in common, those of asyncio and the others."""

    def code(self) -> grpc.StatusCode:
        """The code."""

    def details(self) -> str | None:
        """The words."""

    def trailing_metadata(self) -> Any:
        """The trailers."""


_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_REFUSED = (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
)


def error_of(failure: RpcFailure, address: str, request_id: str | None = None) -> Error:
    """The error for what grpcio says. Its own words are kept only when the broker said them."""
    info, retry_after, violations = _told(failure.trailing_metadata())
    code = failure.code()
    words = failure.details() or "no word from the broker"
    if info is None and code in (*_UNAVAILABLE, grpc.StatusCode.UNKNOWN):
        error: Error = Unreachable(f"there is no connection to the broker at {address}")
    elif code == grpc.StatusCode.DEADLINE_EXCEEDED:
        error = Timeout(f"the broker at {address} did not answer in time")
    elif code == grpc.StatusCode.PERMISSION_DENIED:
        error = Denied("not allowed, or no such thing")
    elif code == grpc.StatusCode.UNAUTHENTICATED:
        error = IdentityRefused(f"the broker does not accept this identity: {words}")
    elif code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
        each = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        error = InvalidRequest(f"the broker cannot take the request: {each or words}")
        error.violations = violations
    elif info is not None and info.reason == "JOURNAL_FULL":
        # Not the caller's doing, and slowing down would not help.
        error = Unavailable(words)
    elif code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        error = Throttled(words)
    elif code in _REFUSED or (code == grpc.StatusCode.UNIMPLEMENTED and info is not None):
        error = Refused(words)
    elif code in _UNAVAILABLE:
        error = Unavailable(words)
    elif code == grpc.StatusCode.UNIMPLEMENTED:
        error = NotUnderstood(f"the broker at {address} does not know the call")
    else:
        error = Failed(f"the broker failed: {words}")
    error.request_id = request_id
    error.retry_after = retry_after
    if info is not None:
        error.reason = info.reason
        error.provider = info.metadata.get("provider")
    if info is not None and isinstance(error, Denied):
        error.explanation = _explanation(info)
    return error


def _explanation(info: error_details_pb2.ErrorInfo) -> Explanation | None:
    """What `error_reason.proto` documents."""
    said = info.metadata
    if "policy_grounds" not in said:
        return None
    return Explanation(
        grounds=said["policy_grounds"],
        policies=tuple(said.get("policies", "").splitlines()),
        principal=said.get("policy_principal", ""),
        policy_set=said.get("policy_set", ""),
    )


def _told(trailers: Any) -> tuple[error_details_pb2.ErrorInfo | None, float | None, tuple[Violation, ...]]:
    """The `google.rpc` details."""
    info: error_details_pb2.ErrorInfo | None = None
    retry_after: float | None = None
    violations: tuple[Violation, ...] = ()
    raw = next((value for key, value in trailers or () if key == _DETAILS), b"")
    try:
        details = status_pb2.Status.FromString(raw).details
    except DecodeError:
        return info, retry_after, violations
    for detail in details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            found = error_details_pb2.ErrorInfo()
            detail.Unpack(found)
            info = found if found.domain == DOMAIN else info
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = tuple(Violation(each.field, each.description) for each in bad.field_violations)
    return info, retry_after, violations
