"""Leases secrets from a Leasehold broker.

A program borrows a secret for as long as it uses it. It is renewed in the background, moved to the new version when the
secret is rotated, and given back in the end::

    import leasehold

    with leasehold.Client.from_env() as client, client.lease("prod/payments/db") as lease:
        connect(password=lease["password"].expose())

`leasehold.aio` has the same for asyncio.
"""

from leasehold import aio
from leasehold._changes import Change, Ended, Failing, Recovered, Replaced, Standing, WhyEnded
from leasehold._client import Client
from leasehold._errors import (
    BrokerUntrusted,
    ClientClosed,
    ConfigurationError,
    CredentialError,
    Denied,
    Error,
    Explanation,
    Failed,
    IdentityRefused,
    InvalidRequest,
    LeaseEnded,
    NotUnderstood,
    Refused,
    Throttled,
    Timeout,
    Unavailable,
    Unreachable,
    Violation,
)
from leasehold._lease import Holding, Lease, LeaseState
from leasehold._leased import Changes, Leased
from leasehold._secret import Secret, Value

__all__ = [
    "BrokerUntrusted",
    "Change",
    "Changes",
    "Client",
    "ClientClosed",
    "ConfigurationError",
    "CredentialError",
    "Denied",
    "Ended",
    "Error",
    "Explanation",
    "Failed",
    "Failing",
    "Holding",
    "IdentityRefused",
    "InvalidRequest",
    "Lease",
    "LeaseEnded",
    "LeaseState",
    "Leased",
    "NotUnderstood",
    "Recovered",
    "Refused",
    "Replaced",
    "Secret",
    "Standing",
    "Throttled",
    "Timeout",
    "Unavailable",
    "Unreachable",
    "Value",
    "Violation",
    "WhyEnded",
    "aio",
]
