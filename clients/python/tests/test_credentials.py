"""Certificates in files are looked over before they are used. What is wrong is said, and nothing of a key."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from leasehold import CredentialError
from leasehold._credentials import Source


def pair() -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


class Folder:
    def __init__(self, path: Path) -> None:
        self.cert, self.key, self.ca = path / "tls.crt", path / "tls.key", path / "ca.crt"
        certificate, key = pair()
        self.cert.write_bytes(certificate)
        self.key.write_bytes(key)
        self.ca.write_bytes(certificate)

    def source(self) -> Source:
        return Source(self.cert, self.key, self.ca)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_good_files_are_read_as_they_are(folder: Folder) -> None:
    loaded = folder.source().load()
    assert (loaded.cert, loaded.key) == (folder.cert.read_bytes(), folder.key.read_bytes())
    assert "PRIVATE" not in repr(loaded)


def test_a_certificate_whose_key_is_another_ones_is_refused(folder: Folder) -> None:
    folder.cert.write_bytes(pair()[0])
    with pytest.raises(CredentialError, match=r"tls\.crt.*tls\.key.*do not go together"):
        folder.source().load()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("cert", b"", "is not PEM that can be used"),
        ("key", b"-----BEGIN PRIVATE KEY-----\ncanary", "is not PEM that can be used"),
        ("ca", b"nonsense", "is not PEM with certificates"),
        ("ca", b"\xff\xfe", "is not PEM with certificates"),
    ],
)
def test_what_cannot_be_used_is_named(folder: Folder, file: str, content: bytes, words: str) -> None:
    getattr(folder, file).write_bytes(content)
    with pytest.raises(CredentialError, match=words) as caught:
        folder.source().load()
    assert "canary" not in str(caught.value)


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_for(folder: Folder) -> None:
    key = serialization.load_pem_private_key(folder.key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"phrase")
    folder.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    with pytest.raises(CredentialError, match="is not PEM that can be used"):
        folder.source().load()


def test_a_file_that_is_not_there_is_named_with_why(folder: Folder) -> None:
    folder.key.unlink()
    with pytest.raises(CredentialError, match=r"private key `.*tls\.key` cannot be read: No such file"):
        folder.source().load()


def test_a_change_is_seen_also_of_what_a_link_leads_to(folder: Folder, tmp_path: Path) -> None:
    source = folder.source()
    before = source.stamp()
    assert source.stamp() == before
    other = tmp_path / "other.crt"
    other.write_bytes(folder.cert.read_bytes())
    folder.cert.unlink()
    folder.cert.symlink_to(other)
    linked = source.stamp()
    assert linked != before
    other.unlink()
    assert source.stamp() != linked


def test_bytes_never_change() -> None:
    certificate, key = pair()
    source = Source(certificate, key, certificate)
    assert source.stamp() == source.stamp() == (None, None, None)
    assert source.load().key == key
