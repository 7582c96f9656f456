"""The client's certificate, its key and the trust bundle: read, looked over, and read again when their files change."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from leasehold._errors import CredentialError

Pem = str | os.PathLike[str] | bytes
"""A PEM file by its path, or its content as bytes, which never changes then."""

Stamp = tuple[object, ...]
"""How the files looked; another one means that they may have changed."""


@dataclass(frozen=True)
class Credentials:
    """What a connection is made with."""

    ca: bytes
    cert: bytes | None
    key: bytes | None = field(repr=False)


class Source:
    """Where credentials come from."""

    def __init__(self, cert: Pem | None, key: Pem | None, ca: Pem) -> None:
        self._cert, self._key, self._ca = _source(cert), _source(key), _source(ca)

    def stamp(self) -> Stamp:
        """How the files look now. Symbolic links are followed: Kubernetes and SPIFFE helpers swap those."""
        return tuple(_look(each) for each in (self._cert, self._key, self._ca))

    @property
    def complete(self) -> bool:
        """Whether a connection from `context` is the client's own."""
        return not isinstance(self._cert, bytes) and not isinstance(self._key, bytes)

    def context(self) -> ssl.SSLContext:
        """A context that connects as the client does, except that it has no certificate which is not in a file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        context.load_verify_locations(cadata=self._read().ca.decode("ascii"))
        if isinstance(self._cert, Path) and isinstance(self._key, Path):
            context.load_cert_chain(self._cert, self._key, password=lambda: "")
        return context

    def load(self) -> Credentials:
        """Reads everything and sees whether it can be used.

        Raises `CredentialError` otherwise, also when the files change meanwhile.
        """
        read = self._read()
        self._check(read)
        if self._read() != read:
            raise CredentialError("the certificate's files change just now")
        return read

    def _read(self) -> Credentials:
        ca = _content("trust bundle", self._ca)
        if ca is None:
            raise CredentialError("there is no trust bundle")
        return Credentials(ca, _content("certificate", self._cert), _content("private key", self._key))

    def _check(self, read: Credentials) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=read.ca.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise CredentialError(f"the trust bundle{_named(self._ca)} is not PEM with certificates") from None
        if isinstance(self._cert, Path) and isinstance(self._key, Path):
            try:
                # A key with a pass phrase would have it asked for on the terminal.
                context.load_cert_chain(self._cert, self._key, password=lambda: "")
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise CredentialError(
                        f"the certificate{_named(self._cert)} and the key{_named(self._key)} do not go together"
                    ) from None
                raise CredentialError(
                    f"the certificate{_named(self._cert)} or its key{_named(self._key)} is not PEM that can be used"
                ) from None
            except OSError:
                raise CredentialError("the certificate's files change just now") from None


def _source(pem: Pem | None) -> Path | bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem)


def _look(source: Path | bytes | None) -> object:
    if not isinstance(source, Path):
        return None
    try:
        found = source.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _content(what: str, source: Path | bytes | None) -> bytes | None:
    if not isinstance(source, Path):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise CredentialError(f"the {what} `{source}` cannot be read: {error.strerror}") from None


def _named(source: Path | bytes | None) -> str:
    return f" `{source}`" if isinstance(source, Path) else ""
