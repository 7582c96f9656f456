"""The same with asyncio, and told of what changes. It ends when its standard input does."""

import asyncio
import sys

import leasehold

SECRET = sys.argv[1] if len(sys.argv) > 1 else "prod/payments/db"


async def follow(lease: leasehold.aio.Leased) -> None:
    """Says that it uses what is new, so that the old version can be retired."""
    async for change in lease.changes():
        match change:
            case leasehold.Replaced(holding):
                print(f"now on version {holding.lease.version}", flush=True)
                lease.switched(holding)
            case leasehold.Failing(error, until):
                print(f"not kept at the moment, and good until {until:%H:%M:%S}: {error}", flush=True)
            case leasehold.Ended(why):
                print(f"over ({why}): not to be used any more", flush=True)
            case leasehold.Recovered():
                print("kept again", flush=True)


async def main() -> None:
    """Holds the secret until the end of its input."""
    async with leasehold.aio.Client.from_env() as client, client.lease(SECRET) as lease:
        print(f"on version {lease.current().lease.version}", flush=True)
        following = asyncio.create_task(follow(lease))
        await asyncio.to_thread(sys.stdin.read)
    await following


asyncio.run(main())
