import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_OUTCOME_UNSPECIFIED: _ClassVar[AuditOutcome]
    AUDIT_OUTCOME_OK: _ClassVar[AuditOutcome]
    AUDIT_OUTCOME_DENIED: _ClassVar[AuditOutcome]
    AUDIT_OUTCOME_FAILED: _ClassVar[AuditOutcome]
AUDIT_OUTCOME_UNSPECIFIED: AuditOutcome
AUDIT_OUTCOME_OK: AuditOutcome
AUDIT_OUTCOME_DENIED: AuditOutcome
AUDIT_OUTCOME_FAILED: AuditOutcome

class AuditRecord(_message.Message):
    __slots__ = ("sequence", "node", "previous_hash", "time", "kind", "actor", "outcome", "failure_reason", "secret", "version", "provider", "lease_id", "expire_time", "decision", "request_id", "value_hmacs", "details", "hash")
    class ValueHmacsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_HASH_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_HMACS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    node: str
    previous_hash: str
    time: _timestamp_pb2.Timestamp
    kind: str
    actor: AuditActor
    outcome: AuditOutcome
    failure_reason: str
    secret: str
    version: str
    provider: str
    lease_id: str
    expire_time: _timestamp_pb2.Timestamp
    decision: AuditDecision
    request_id: str
    value_hmacs: _containers.ScalarMap[str, str]
    details: _containers.ScalarMap[str, str]
    hash: str
    def __init__(self, sequence: _Optional[int] = ..., node: _Optional[str] = ..., previous_hash: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., actor: _Optional[_Union[AuditActor, _Mapping]] = ..., outcome: _Optional[_Union[AuditOutcome, str]] = ..., failure_reason: _Optional[str] = ..., secret: _Optional[str] = ..., version: _Optional[str] = ..., provider: _Optional[str] = ..., lease_id: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decision: _Optional[_Union[AuditDecision, _Mapping]] = ..., request_id: _Optional[str] = ..., value_hmacs: _Optional[_Mapping[str, str]] = ..., details: _Optional[_Mapping[str, str]] = ..., hash: _Optional[str] = ...) -> None: ...

class AuditActor(_message.Message):
    __slots__ = ("spiffe_id", "certificate_sha256", "address")
    SPIFFE_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    spiffe_id: str
    certificate_sha256: str
    address: str
    def __init__(self, spiffe_id: _Optional[str] = ..., certificate_sha256: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class AuditDecision(_message.Message):
    __slots__ = ("action", "allowed", "policies", "policy_set", "inputs", "errors", "max_ttl")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    action: str
    allowed: bool
    policies: _containers.RepeatedScalarFieldContainer[str]
    policy_set: str
    inputs: _struct_pb2.Struct
    errors: _containers.RepeatedScalarFieldContainer[str]
    max_ttl: _duration_pb2.Duration
    def __init__(self, action: _Optional[str] = ..., allowed: bool = ..., policies: _Optional[_Iterable[str]] = ..., policy_set: _Optional[str] = ..., inputs: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., errors: _Optional[_Iterable[str]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AuditFilter(_message.Message):
    __slots__ = ("kinds", "actor", "secret", "secret_prefix", "lease_id", "outcomes", "start_time", "end_time")
    KINDS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    SECRET_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    actor: str
    secret: str
    secret_prefix: str
    lease_id: str
    outcomes: _containers.RepeatedScalarFieldContainer[AuditOutcome]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, kinds: _Optional[_Iterable[str]] = ..., actor: _Optional[str] = ..., secret: _Optional[str] = ..., secret_prefix: _Optional[str] = ..., lease_id: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[AuditOutcome, str]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
