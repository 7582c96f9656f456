"""Borrows a secret for as long as it is used. The environment says where the broker is; see docs/sdk-python.md."""

import sys

import leasehold

SECRET = sys.argv[1] if len(sys.argv) > 1 else "prod/payments/db"

try:
    with leasehold.Client.from_env() as client, client.lease(SECRET) as lease:
        # Here a program would work, for as long as it likes: `lease["password"].expose()` is always the value of now.
        for name, value in lease.items():
            print(f"{name}: {value}")
        print(f"held until {lease.current().lease.expires_at:%H:%M:%S} and renewed before that")
except leasehold.Denied:
    sys.exit(f"policy does not let this program have {SECRET}, or there is none")
except leasehold.Error as error:
    sys.exit(str(error))
