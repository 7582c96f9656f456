"""Writes the seeds that no editor can: `target/peers/bin/python tests/fuzz/seeds.py`, when a form has changed."""

import base64
import datetime
import hashlib
import json
import pathlib
import sys
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "clients/python/src"))
from leasehold.v1 import lease_service_pb2

LEASE = "lease-a4dqobyha4dqobyha4dqobyha4"
HOLDER = "spiffe://example.org/prod/payments/api"
DECISION = {
    "effect": "allow",
    "policies": ["payments"],
    "max_ttl_seconds": 60,
    "policy_set": "0" * 64,
    "inputs": {"ttl": 60},
}
TIME = "1970-01-01T00:00:00Z"


def put(target: str, name: str, content: bytes) -> None:
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def record(note: str, **more: object) -> dict[str, object]:
    actor = {"id": HOLDER}
    return {
        "time": TIME,
        "kind": "lease.issued",
        "actor": actor,
        "secret": "prod/payments/db",
        "outcome": {"result": "ok"},
        "details": {"note": note},
        **more,
    }


def journal() -> None:
    previous = "0" * 64
    lines = [json.dumps({"leasehold-journal": 1, "first": 1, "prev": previous}, separators=(",", ":"))]
    for seq, group in [(1, 1), (2, 2), (3, 2)]:
        fields = {
            "seq": seq,
            "prev": previous,
            "group": group,
            "node": "a",
            **record(str(seq)),
            "sealed": base64.b64encode(bytes([7] * 20)).decode(),
        }
        body = json.dumps(fields, separators=(",", ":"))[:-1]
        line = f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}'
        previous = hashlib.sha256(b"\0" + line.encode()).hexdigest()
        lines.append(line)
    segment = "".join(line + "\n" for line in lines).encode()
    put("journal", "whole", b"p" + segment)
    put("journal", "zeros-behind", b"p" + segment + bytes(64))
    put("journal", "torn", b"p" + segment[:-40])
    put("journal", "packed", b"c" + segment)
    written = [
        record("one"),
        record("two", outcome={"result": "failed", "reason": "PROVIDER_THROTTLED"}),
        None,
        record('\u00e9"', lease=LEASE, decision=DECISION, value_hmac={"value": "0" * 64}),
    ]
    text = "\n".join("---" if one is None else json.dumps(one, separators=(",", ":")) for one in written)
    put("journal_records", "two-segments", text.encode())


def certificates() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    none = dict.fromkeys(
        [
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ],
        False,
    )

    def issue(uris: list[str], signs: bool) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fuzz")])
        usage = x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **none)
        return (
            x509.CertificateBuilder(name, name, key.public_key(), 7)
            .not_valid_before(datetime.datetime(1970, 1, 1))
            .not_valid_after(datetime.datetime(2049, 1, 1))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), False)
            .add_extension(x509.BasicConstraints(signs, None), True)
            .add_extension(usage, True)
            .sign(key, hashes.SHA256())
        )

    for name, uris, signs in [
        ("svid", [HOLDER], False),
        ("two-uris", ["spiffe://example.org/a", "https://example.org/"], False),
        ("the-brokers-own", ["spiffe://example.org/leasehold/broker"], False),
        ("authority", ["spiffe://example.org/a"], True),
    ]:
        put("certificate", name, issue(uris, signs).public_bytes(serialization.Encoding.DER))
    pem = issue([HOLDER], False).public_bytes(serialization.Encoding.PEM)
    # No key that anybody could take for one.
    put("certificate", "bundle-and-key", pem + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def answers() -> None:
    issued = lease_service_pb2.IssueLeaseResponse()
    lease = issued.lease
    lease.id, lease.holder, lease.secret, lease.version = LEASE, HOLDER, "prod/payments/db", "v1"
    lease.provider, lease.state = "local", 2
    lease.issue_time.seconds, lease.expire_time.seconds, lease.max_expire_time.seconds = 1, 60, 600
    put("answers", "lease", lease.SerializeToString())
    issued.value.fields["password"] = b"a value that is long enough"
    issued.value.content_type = "text/plain"
    put("answers", "issued", issued.SerializeToString())


def cache() -> None:
    value = {"content_type": "text/plain", "fields": {"value": base64.b64encode(b"a value").decode()}}
    secret = {
        "name": "db",
        "path": "prod/payments/db",
        "fields": [],
        "lease": LEASE,
        "version": "v1",
        "expires_at": TIME,
        "value": json.dumps(value),
    }
    written = {"time": TIME, "boot": "boot", "up": {"secs": 7, "nanos": 0}}
    put("sidecar_cache", "one-secret", json.dumps({"form": 1, "written": written, "secrets": [secret]}).encode())


if __name__ == "__main__":
    journal()
    certificates()
    answers()
    cache()
