"""How a client is told where the broker is, who it is itself, and whom it trusts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leasehold._credentials import Pem, Source
from leasehold._errors import ConfigurationError

DEFAULT_PORT = 8443


@dataclass(frozen=True)
class Settings:
    """What a client needs to know."""

    addresses: tuple[str, ...]
    credentials: Source
    server_name: str | None
    timeout: float
    connect_timeout: float


def settings(
    addresses: str | Iterable[str] | None,
    *,
    identity: str | os.PathLike[str] | None,
    cert: Pem | None,
    key: Pem | None,
    ca: Pem | None,
    server_name: str | None,
    timeout: float,
    connect_timeout: float,
) -> Settings:
    """Everything in one, or what is wrong with it."""
    if isinstance(addresses, str):
        addresses = addresses.split(",")
    parsed = tuple(address_of(each) for each in addresses or ())
    if not parsed:
        raise ConfigurationError("the broker's address is missing: give `host:port`, or set LEASEHOLD_ADDR")
    if identity is not None:
        folder = Path(identity)
        cert, key, ca = cert or folder / "tls.crt", key or folder / "tls.key", ca or folder / "ca.crt"
    if ca is None:
        raise ConfigurationError(
            "the trust bundle by which the broker is known is missing: give its PEM file as `ca`, or set LEASEHOLD_CA"
        )
    if (cert is None) != (key is None):
        raise ConfigurationError("a certificate and its key go together: give both, or neither")
    for name, seconds in (("timeout", timeout), ("connect_timeout", connect_timeout)):
        if not seconds > 0:
            raise ConfigurationError(f"{name} must be more than 0 s")
    return Settings(parsed, Source(cert, key, ca), server_name, timeout, connect_timeout)


def from_env(environ: Mapping[str, str]) -> dict[str, str | None]:
    """What the environment says, as the arguments of a client."""
    if environ.get("LEASEHOLD_SERVER_ID"):
        raise ConfigurationError(
            "LEASEHOLD_SERVER_ID is set, and gRPC for Python cannot tell a broker by its SPIFFE ID: unset it, and set "
            "LEASEHOLD_SERVER_NAME to a DNS name or IP address in the broker's certificate if it is not the one in "
            "LEASEHOLD_ADDR"
        )
    names = {
        "addresses": "LEASEHOLD_ADDR",
        "identity": "LEASEHOLD_IDENTITY",
        "cert": "LEASEHOLD_CERT",
        "key": "LEASEHOLD_KEY",
        "ca": "LEASEHOLD_CA",
        "server_name": "LEASEHOLD_SERVER_NAME",
    }
    return {argument: environ.get(name) or None for argument, name in names.items()}


def address_of(text: str) -> str:
    """`host:port` as gRPC takes it. Read from `host:port`, `[::1]:port` or `https://host:port`, the port optional."""
    rest = text.strip()
    if "://" in rest:
        scheme, _, rest = rest.partition("://")
        if scheme != "https":
            raise ConfigurationError("the broker is reached by TLS only: write `host:port` or `https://host:port`")
        rest = rest.removesuffix("/")
    if any(character in rest for character in "/?#@ "):
        raise ConfigurationError("an address is `host:port` with nothing behind it")
    host, port = rest, str(DEFAULT_PORT)
    if rest.startswith("["):
        host, closed, behind = rest.partition("]")
        host += closed
        if not closed or (behind and not behind.startswith(":")):
            raise ConfigurationError(f"`{rest}` is not an address: write `[::1]:port`")
        port = behind[1:] or port
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    elif rest.count(":") > 1:
        host = f"[{rest}]"
    if not host or host == "[]":
        raise ConfigurationError(f"`{text}` names no host: write `host:port`")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigurationError(f"`{port}` is not a port: one is a number from 1 to 65535")
    return f"{host}:{int(port)}"
