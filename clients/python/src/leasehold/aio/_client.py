"""The client for asyncio."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any

from leasehold import _calls, _settings
from leasehold._calls import Seconds
from leasehold._credentials import Pem
from leasehold._lease import Holding, Lease, LeaseState, lease_of
from leasehold._secret import Value
from leasehold.aio._core import Core
from leasehold.aio._leased import Borrow
from leasehold.v1 import lease_service_pb2 as pb


class Client:
    """A client of the broker for asyncio: `leasehold.Client` says what its arguments are.

    It belongs to the event loop in which it is made, and is closed by `async with` or `await client.close()`.

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

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **others: Any) -> Client:
        """A client as the environment says; see `leasehold.Client.from_env`."""
        return cls(**{**_settings.from_env(os.environ if environ is None else environ), **others})

    def lease(self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = ()) -> Borrow:
        """Takes a lease and keeps it in the background: `async with client.lease(...) as lease`, or `await` it.

        It is renewed at two thirds of its life, and moved to the new version when the secret is rotated. Without `ttl`
        it has the secret's default, without `fields` all of them.
        """
        return Borrow(self._core, secret, ttl, _calls.names(fields))

    async def issue_lease(
        self, secret: str, *, ttl: Seconds | None = None, fields: Iterable[str] = (), request_id: str | None = None
    ) -> Holding:
        """Takes a lease that nobody keeps. `request_id` names the request in the audit journal."""
        request = _calls.issue(secret, ttl, fields, request_id)
        return _calls.issued(await self._core.call("IssueLease", request))

    async def renew_lease(
        self, lease_id: str, *, ttl: Seconds | None = None, accept_rotation: bool = False
    ) -> tuple[Lease, Value | None]:
        """Asks for more time; with `accept_rotation` moves a static lease to the current version, and has its value."""
        return _calls.renewed(await self._core.call("RenewLease", _calls.renew(lease_id, ttl, accept_rotation)))

    async def revoke_lease(self, lease_id: str, *, reason: str = "") -> Lease:
        """Gives a lease back. One that has ended already is a success."""
        return lease_of((await self._core.call("RevokeLease", _calls.revoke(lease_id, reason))).lease)

    async def get_lease(self, lease_id: str) -> Lease:
        """Looks at a lease; never gives the value again."""
        return lease_of((await self._core.call("GetLease", pb.GetLeaseRequest(lease_id=lease_id))).lease)

    async def list_leases(
        self, *, secret: str | None = None, states: Iterable[LeaseState] = ()
    ) -> AsyncIterator[Lease]:
        """One's own leases, page by page as they are read; ended ones too, until the broker forgets them."""
        states, token = tuple(states), ""
        while True:
            page = await self._core.call("ListLeases", _calls.list_page(secret, states, token))
            for message in page.leases:
                yield lease_of(message)
            token = page.next_page_token
            if not token:
                return

    async def close(self) -> None:
        """Ends all connections. Leases that are still held end at their time: close them first."""
        await self._core.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
