"""The client for programs with threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from leasehold import _calls, _settings
from leasehold._calls import Seconds
from leasehold._clock import now
from leasehold._core import Core
from leasehold._credentials import Pem
from leasehold._keeper import is_late
from leasehold._lease import Holding, Lease, LeaseState, lease_of
from leasehold._leased import Leased
from leasehold._secret import Value
from leasehold.v1 import lease_service_pb2 as pb


class Client:
    """A client of the broker. It connects when it is first used, and again whenever it has to; safe to share.

    `addresses` is `host:port`, several of them separated by commas, or a list: they are asked in turn when one does not
    answer. `identity` is a folder with `tls.crt`, `tls.key` and `ca.crt`; or the three files are given as `cert`, `key`
    and `ca`, by their paths or as PEM bytes. Files are read again when they change, and calls go on meanwhile.
    `server_name` is a DNS name or IP address in the broker's certificate, where it is not the one that is connected to.
    `timeout` is how many seconds a call may take with all its repetitions, `connect_timeout` a connection.

    Raises `ConfigurationError` and `CredentialError`.
    """

    def __init__(
        self,
        addresses: str | Iterable[str] | None = None,
        *,
        identity: str | os.PathLike[str] | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        ca: Pem | None = None,
        server_name: str | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
    ) -> None:
        self._core = Core(
            _settings.settings(
                addresses,
                identity=identity,
                cert=cert,
                key=key,
                ca=ca,
                server_name=server_name,
                timeout=timeout,
                connect_timeout=connect_timeout,
            )
        )
        self._close = weakref.finalize(self, self._core.close)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **others: Any) -> Client:
        """A client as the environment says, with the constructor's arguments where they are given.

        `LEASEHOLD_ADDR`, `LEASEHOLD_IDENTITY`, `LEASEHOLD_CERT`, `LEASEHOLD_KEY`, `LEASEHOLD_CA` and
        `LEASEHOLD_SERVER_NAME`.
        """
        return cls(**{**_settings.from_env(os.environ if environ is None else environ), **others})

    def lease(self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = ()) -> Leased:
        """Takes a lease and keeps it in the background, until it is closed: use it with `with`.

        It is renewed at two thirds of its life, and moved to the new version when the secret is rotated. Without `ttl`
        it has the secret's default, without `fields` all of them.
        """
        fields = _calls.names(fields)
        # First the watch, so that nothing of the lease goes untold.
        self._core.watch()
        sent, holding = 0.0, None
        while holding is None or is_late(holding, sent, now()):
            sent = now()
            holding = self.issue_lease(secret, ttl=ttl, fields=fields)
        return Leased(self, self._core, holding, sent, ttl, fields)

    def issue_lease(
        self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = (), request_id: str | None = None
    ) -> Holding:
        """Takes a lease that nobody keeps. `request_id` names the request in the audit journal."""
        request = _calls.issue(secret, ttl, fields, request_id)
        return _calls.issued(self._core.call("IssueLease", request))

    def renew_lease(
        self, lease_id: str, *, ttl: Seconds | None = None, accept_rotation: bool = False
    ) -> tuple[Lease, Value | None]:
        """Asks for more time; with `accept_rotation` moves a static lease to the current version, and has its value."""
        return _calls.renewed(self._core.call("RenewLease", _calls.renew(lease_id, ttl, accept_rotation)))

    def revoke_lease(self, lease_id: str, *, reason: str = "") -> Lease:
        """Gives a lease back. One that has ended already is a success."""
        return lease_of(self._core.call("RevokeLease", _calls.revoke(lease_id, reason)).lease)

    def get_lease(self, lease_id: str) -> Lease:
        """Looks at a lease; never gives the value again."""
        return lease_of(self._core.call("GetLease", pb.GetLeaseRequest(lease_id=lease_id)).lease)

    def list_leases(self, *, secret: str | None = None, states: Iterable[LeaseState] = ()) -> Iterator[Lease]:
        """One's own leases, page by page as they are read; ended ones too, until the broker forgets them."""
        states, token = tuple(states), ""
        while True:
            page = self._core.call("ListLeases", _calls.list_page(secret, states, token))
            yield from map(lease_of, page.leases)
            token = page.next_page_token
            if not token:
                return

    def close(self) -> None:
        """Ends all connections. Leases that are still held end at their time: close them first."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
