"""Why there is no connection, found out by one handshake of our own.

grpcio says it in prose, and of a host with several addresses only for the last.
"""

from __future__ import annotations

import socket
import ssl

from leasehold._credentials import Source
from leasehold._errors import BrokerUntrusted, Error, IdentityRefused, Unreachable

ADVICE = "it needs one SPIFFE ID in the broker's trust domain; the broker's log says more"

_ALERTS = {
    "CERTIFICATE_REQUIRED": "a client certificate is required, and none was given",
    "CERTIFICATE_EXPIRED": "the client's certificate has expired: renew it",
    "CERTIFICATE_REVOKED": "the client's certificate was revoked: a new one is needed",
    "UNKNOWN_CA": "the client's certificate is not signed by an authority that the broker trusts",
}


def diagnose(address: str, credentials: Source, server_name: str | None, timeout: float) -> Error | None:
    """What keeps a connection from being made; `None` when nothing does."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        context = credentials.context()
        with (
            socket.create_connection((host, int(port)), timeout) as tcp,
            context.wrap_socket(tcp, server_hostname=server_name or host) as tls,
        ):
            # In TLS 1.3 the handshake is over before the server has judged the client. A broker speaks first then.
            if tls.selected_alpn_protocol() == "h2" and tls.recv(1):
                return None
            return Unreachable(f"what listens at {address} is not a Leasehold broker, or it closes the connection")
    except ssl.SSLCertVerificationError as error:
        return BrokerUntrusted(f"the broker at {address} is not to be trusted: {_distrust(error)}")
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "ALERT" not in reason or not credentials.complete:
            return None
        said = next((text for name, text in _ALERTS.items() if reason.endswith(name)), None)
        return IdentityRefused(
            f"the broker at {address} refused the connection: "
            + (said or f"the client's certificate was not accepted: {ADVICE}")
        )
    except socket.gaierror:
        return Unreachable(f"the broker's host in {address} cannot be found")
    except ConnectionRefusedError:
        return Unreachable(f"nothing listens at {address}: is the broker running, and is this its address?")
    except TimeoutError:
        return Unreachable(f"the broker at {address} did not answer within {timeout:g} s")
    except OSError as error:
        return Unreachable(f"the broker at {address} cannot be reached: {error.strerror or type(error).__name__}")


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    why = error.verify_message
    if "ostname mismatch" in why or "IP address mismatch" in why:
        return (
            "its certificate is not for this host: connect by the name it has, or give that as server_name "
            "(LEASEHOLD_SERVER_NAME)"
        )
    if "expired" in why or "not yet valid" in why:
        return "its certificate has expired or is not valid yet (or this machine's clock is wrong)"
    return f"its certificate is not signed by an authority in the trust bundle ({why})"
