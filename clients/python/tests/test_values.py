"""Nothing prints a value, and addresses, errors and backlogs are what they say."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import grpc
import pytest
from conftest import Make
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

import leasehold
from leasehold import (
    Client,
    ConfigurationError,
    Ended,
    Failing,
    Recovered,
    Replaced,
    Secret,
    Timeout,
    Unreachable,
    Value,
)
from leasehold._attempts import Attempts
from leasehold._calls import issue
from leasehold._changes import Backlog, Change
from leasehold._errors import error_of
from leasehold._settings import address_of, from_env

CANARY = "canary-7d1f"


def test_a_secret_is_printed_by_nothing_but_expose(make: Make) -> None:
    secret = Secret(CANARY.encode())
    shown = [repr(secret), str(secret), f"{secret}", repr({"a": secret}), repr([secret])]
    holding = make("a")
    shown += [repr(Value({"password": CANARY.encode()})), repr(holding), str(holding), repr(Replaced(holding))]
    shown += [repr(vars(holding)), logging.LogRecord("a", 1, "p", 1, "%s", (secret,), None).getMessage()]
    assert not [text for text in shown if "canary" in text]
    assert repr(secret) == "[redacted; 11 bytes]"
    assert secret.expose() == CANARY
    assert secret.expose_bytes() == CANARY.encode()


def test_a_secret_is_not_pickled_copied_or_compared_by_mistake() -> None:
    secret = Secret(b"canary")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(secret)
    assert secret != Secret(b"canary")
    assert secret.matches(Secret(b"canary"))
    assert secret.matches("canary")
    assert not secret.matches(b"canar")


def test_a_field_that_is_not_there_is_told_with_those_that_are() -> None:
    value = Value({"username": b"app", "password": CANARY.encode()})
    with pytest.raises(KeyError) as failed:
        value["pasword"]
    assert "`pasword`: it has password, username" in str(failed.value)
    assert CANARY not in str(failed.value)
    assert value.get("pasword") is None
    assert "pasword" not in value


def test_a_secret_that_is_no_text_says_so_without_its_bytes() -> None:
    with pytest.raises(ValueError, match="not UTF-8") as caught:
        Secret(b"\xffcanary").expose()
    assert b"canary" not in repr(caught.value.args).encode()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("broker", "broker:8443"),
        ("broker:7443", "broker:7443"),
        ("https://broker:7443/", "broker:7443"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("::1", "[::1]:8443"),
        ("[::1]:7443", "[::1]:7443"),
        (" broker ", "broker:8443"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text", ["", "http://broker", "broker:0", "broker:x", "broker:70000", "a/b", "u@b", "[::1", ":1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError):
        address_of(text)


def test_what_is_missing_is_named_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match="LEASEHOLD_ADDR"):
        Client.from_env({})
    with pytest.raises(ConfigurationError, match="LEASEHOLD_CA"):
        Client.from_env({"LEASEHOLD_ADDR": "broker"})
    with pytest.raises(ConfigurationError, match="go together"):
        Client("broker", ca="ca.pem", cert="cert.pem")
    with pytest.raises(ConfigurationError, match="LEASEHOLD_SERVER_NAME"):
        from_env({"LEASEHOLD_SERVER_ID": "spiffe://example.org/leasehold/broker"})
    with pytest.raises(leasehold.CredentialError, match=r"/nowhere/ca\.crt"):
        Client("broker", identity="/nowhere")
    with pytest.raises(leasehold.CredentialError, match="is not PEM"):
        Client("broker", ca=b"nonsense")
    with pytest.raises(ConfigurationError, match="list of names"):
        issue("prod/payments/db", None, "password", None)


class Failure:
    """What grpcio would raise."""

    def __init__(self, code: grpc.StatusCode, reason: str | None, *more: Any) -> None:
        self._code = code
        details = list(more)
        if reason is not None:
            info = error_details_pb2.ErrorInfo(reason=reason, domain="leasehold.dev", metadata={"provider": "aws-main"})
            details.insert(0, info)
        packed = []
        for detail in details:
            each = Packed()
            each.Pack(detail)
            packed.append(each)
        self._raw = status_pb2.Status(code=1, details=packed).SerializeToString()

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "said the broker"

    def trailing_metadata(self) -> Any:
        return (("other", "x"), ("grpc-status-details-bin", self._raw))


CODES = grpc.StatusCode


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (Failure(CODES.PERMISSION_DENIED, "DENIED_OR_NOT_FOUND"), leasehold.Denied, "not allowed, or no such thing"),
        (Failure(CODES.FAILED_PRECONDITION, "LEASE_EXPIRED"), leasehold.Refused, "said the broker"),
        (Failure(CODES.RESOURCE_EXHAUSTED, "JOURNAL_FULL"), leasehold.Unavailable, "said the broker"),
        (Failure(CODES.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"), leasehold.Throttled, "said the broker"),
        (Failure(CODES.UNAVAILABLE, "PROVIDER_UNAVAILABLE"), leasehold.Unavailable, "said the broker"),
        (Failure(CODES.UNAVAILABLE, None), leasehold.Unreachable, "no connection to the broker at b:1"),
        (Failure(CODES.UNAUTHENTICATED, "IDENTITY_EXPIRED"), leasehold.IdentityRefused, "said the broker"),
        (Failure(CODES.DEADLINE_EXCEEDED, None), leasehold.Timeout, "did not answer in time"),
        (Failure(CODES.INTERNAL, "INTERNAL"), leasehold.Failed, "the broker failed"),
        (Failure(CODES.UNIMPLEMENTED, None), leasehold.NotUnderstood, "does not know the call"),
        (Failure(CODES.UNIMPLEMENTED, "PROVIDER_UNSUPPORTED"), leasehold.Refused, "said the broker"),
    ],
)
def test_each_answer_has_its_kind(failure: Failure, kind: type[leasehold.Error], words: str) -> None:
    error = error_of(failure, "b:1", "r-1")
    assert type(error) is kind
    assert words in str(error)
    assert error.request_id == "r-1"


def test_an_answer_says_what_else_it_knows() -> None:
    wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000))
    throttled = error_of(Failure(CODES.RESOURCE_EXHAUSTED, "PROVIDER_THROTTLED", wait), "b:1")
    assert (throttled.retry_after, throttled.reason, throttled.provider) == (3.5, "PROVIDER_THROTTLED", "aws-main")
    field = error_details_pb2.BadRequest.FieldViolation(field="ttl", description="at least 1 s")
    bad = error_details_pb2.BadRequest(field_violations=[field])
    invalid = error_of(Failure(CODES.INVALID_ARGUMENT, "INVALID_REQUEST", bad), "b:1")
    assert isinstance(invalid, leasehold.InvalidRequest)
    assert [violation.field for violation in invalid.violations] == ["ttl"]
    assert "ttl: at least 1 s" in str(invalid)


def test_a_denial_says_why_to_whom_it_is_explained() -> None:
    denied = error_of(Failure(CODES.PERMISSION_DENIED, "DENIED_OR_NOT_FOUND"), "b:1")
    assert isinstance(denied, leasehold.Denied)
    assert denied.explanation is None
    info = error_details_pb2.ErrorInfo(
        reason="DENIED_OR_NOT_FOUND",
        domain="leasehold.dev",
        metadata={
            "policy_grounds": "FORBIDDEN",
            "policies": "forbid a (x.cedar:1) applies\npermit b (x.cedar:2) applies",
            "policy_principal": 'Operator::"x", in no group',
            "policy_set": "abc",
        },
    )
    denied = error_of(Failure(CODES.PERMISSION_DENIED, None, info), "b:1")
    assert isinstance(denied, leasehold.Denied)
    assert denied.explanation == leasehold.Explanation(
        "FORBIDDEN",
        ("forbid a (x.cedar:1) applies", "permit b (x.cedar:2) applies"),
        'Operator::"x", in no group',
        "abc",
    )


def test_only_what_passes_is_tried_again() -> None:
    def delay(failure: Failure, **how: Any) -> float | None:
        return Attempts(30, 0, **how).after(error_of(failure, "b:1"), 0)

    assert delay(Failure(CODES.UNAVAILABLE, None)) is not None
    assert delay(Failure(CODES.UNAVAILABLE, "BROKER_STOPPING")) is not None
    assert delay(Failure(CODES.ABORTED, "CONFLICT")) is not None
    assert delay(Failure(CODES.UNAVAILABLE, None), addresses=2) == 0.0
    assert delay(Failure(CODES.UNAVAILABLE, None), manner="brief") is None
    assert delay(Failure(CODES.PERMISSION_DENIED, "DENIED_OR_NOT_FOUND")) is None
    assert delay(Failure(CODES.RESOURCE_EXHAUSTED, "RATE_LIMITED")) is None
    assert delay(Failure(CODES.RESOURCE_EXHAUSTED, "RATE_LIMITED"), manner="patient") is not None
    assert delay(Failure(CODES.UNAVAILABLE, "PROVIDER_UNAVAILABLE")) is None
    attempts, now, tries = Attempts(30, 0), 0.0, 0
    while (wait := attempts.after(Unreachable("away"), now)) is not None:
        now, tries = now + wait, tries + 1
    assert now <= 30
    assert 10 < tries < 60


def test_a_broker_that_has_never_answered_is_not_waited_for_while_there_are_others() -> None:
    alone, three = Attempts(30, 0), Attempts(30, 0, addresses=3)
    assert alone.limit(0, False) == alone.limit(0, True) == 30
    assert three.limit(0, True) == 15
    silent = Timeout("silent")
    assert three.limit(0, False) == 1
    assert three.after(silent, 1) == 0
    assert three.limit(1, False) == 1
    assert three.after(silent, 2) == 0
    # The last one, and each in the next round, has time to connect over a slow line.
    assert three.limit(2, False) == 14
    assert three.after(silent, 16)
    assert three.limit(16, False) == 7


def test_a_slow_receiver_sees_the_latest_and_nothing_piles_up(make: Make) -> None:
    backlog = Backlog()
    assert backlog.pop() is None
    for _ in range(1000):
        backlog.push(Failing(Unreachable("away"), make().lease.expires_at))
        backlog.push(Ended("expired"))
        backlog.push(Recovered())
    assert len(backlog) == 2
    last = Replaced(make("b"))
    backlog.push(last)
    seen: list[Change | None] = [backlog.pop(), backlog.pop()]
    assert seen == [last, None], "a new lease is good, whatever was before"
