"""The client for asyncio: what `leasehold` has, awaited.

::

    async with leasehold.aio.Client.from_env() as client:
        async with client.lease("prod/payments/db") as lease:
            connect(password=lease["password"].expose())
"""

from leasehold.aio._client import Client
from leasehold.aio._leased import Borrow, Changes, Leased

__all__ = ["Borrow", "Changes", "Client", "Leased"]
