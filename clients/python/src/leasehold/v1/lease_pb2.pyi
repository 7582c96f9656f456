import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LeaseVerification(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_VERIFICATION_UNSPECIFIED: _ClassVar[LeaseVerification]
    LEASE_VERIFICATION_VERIFIED: _ClassVar[LeaseVerification]
    LEASE_VERIFICATION_UNVERIFIABLE: _ClassVar[LeaseVerification]
    LEASE_VERIFICATION_STILL_VALID: _ClassVar[LeaseVerification]

class LeaseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_KIND_UNSPECIFIED: _ClassVar[LeaseKind]
    LEASE_KIND_STATIC: _ClassVar[LeaseKind]
    LEASE_KIND_DYNAMIC: _ClassVar[LeaseKind]

class LeaseState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_STATE_UNSPECIFIED: _ClassVar[LeaseState]
    LEASE_STATE_PENDING: _ClassVar[LeaseState]
    LEASE_STATE_ACTIVE: _ClassVar[LeaseState]
    LEASE_STATE_REVOKING: _ClassVar[LeaseState]
    LEASE_STATE_REVOKED: _ClassVar[LeaseState]
    LEASE_STATE_EXPIRED: _ClassVar[LeaseState]
    LEASE_STATE_QUARANTINED: _ClassVar[LeaseState]
    LEASE_STATE_FORGOTTEN: _ClassVar[LeaseState]

class LeaseEndCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_END_CAUSE_UNSPECIFIED: _ClassVar[LeaseEndCause]
    LEASE_END_CAUSE_EXPIRY: _ClassVar[LeaseEndCause]
    LEASE_END_CAUSE_HOLDER: _ClassVar[LeaseEndCause]
    LEASE_END_CAUSE_OPERATOR: _ClassVar[LeaseEndCause]
    LEASE_END_CAUSE_ABANDONED: _ClassVar[LeaseEndCause]
    LEASE_END_CAUSE_UPSTREAM: _ClassVar[LeaseEndCause]
LEASE_VERIFICATION_UNSPECIFIED: LeaseVerification
LEASE_VERIFICATION_VERIFIED: LeaseVerification
LEASE_VERIFICATION_UNVERIFIABLE: LeaseVerification
LEASE_VERIFICATION_STILL_VALID: LeaseVerification
LEASE_KIND_UNSPECIFIED: LeaseKind
LEASE_KIND_STATIC: LeaseKind
LEASE_KIND_DYNAMIC: LeaseKind
LEASE_STATE_UNSPECIFIED: LeaseState
LEASE_STATE_PENDING: LeaseState
LEASE_STATE_ACTIVE: LeaseState
LEASE_STATE_REVOKING: LeaseState
LEASE_STATE_REVOKED: LeaseState
LEASE_STATE_EXPIRED: LeaseState
LEASE_STATE_QUARANTINED: LeaseState
LEASE_STATE_FORGOTTEN: LeaseState
LEASE_END_CAUSE_UNSPECIFIED: LeaseEndCause
LEASE_END_CAUSE_EXPIRY: LeaseEndCause
LEASE_END_CAUSE_HOLDER: LeaseEndCause
LEASE_END_CAUSE_OPERATOR: LeaseEndCause
LEASE_END_CAUSE_ABANDONED: LeaseEndCause
LEASE_END_CAUSE_UPSTREAM: LeaseEndCause

class Lease(_message.Message):
    __slots__ = ("id", "holder", "secret", "version", "provider", "kind", "fields", "state", "issue_time", "expire_time", "max_expire_time", "renewal_count", "stale_since_time", "end_time", "end_cause", "revocation", "irrevocable_until_time", "verification")
    ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    STALE_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    END_CAUSE_FIELD_NUMBER: _ClassVar[int]
    REVOCATION_FIELD_NUMBER: _ClassVar[int]
    IRREVOCABLE_UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    id: str
    holder: str
    secret: str
    version: str
    provider: str
    kind: LeaseKind
    fields: _containers.RepeatedScalarFieldContainer[str]
    state: LeaseState
    issue_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    max_expire_time: _timestamp_pb2.Timestamp
    renewal_count: int
    stale_since_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    end_cause: LeaseEndCause
    revocation: LeaseRevocation
    irrevocable_until_time: _timestamp_pb2.Timestamp
    verification: LeaseVerification
    def __init__(self, id: _Optional[str] = ..., holder: _Optional[str] = ..., secret: _Optional[str] = ..., version: _Optional[str] = ..., provider: _Optional[str] = ..., kind: _Optional[_Union[LeaseKind, str]] = ..., fields: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[LeaseState, str]] = ..., issue_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., renewal_count: _Optional[int] = ..., stale_since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_cause: _Optional[_Union[LeaseEndCause, str]] = ..., revocation: _Optional[_Union[LeaseRevocation, _Mapping]] = ..., irrevocable_until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., verification: _Optional[_Union[LeaseVerification, str]] = ...) -> None: ...

class LeaseRevocation(_message.Message):
    __slots__ = ("failed_attempt_count", "next_attempt_time")
    FAILED_ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    failed_attempt_count: int
    next_attempt_time: _timestamp_pb2.Timestamp
    def __init__(self, failed_attempt_count: _Optional[int] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LeaseFilter(_message.Message):
    __slots__ = ("holder", "secret", "states", "secret_prefix", "version", "provider")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    SECRET_PREFIX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    holder: str
    secret: str
    states: _containers.RepeatedScalarFieldContainer[LeaseState]
    secret_prefix: str
    version: str
    provider: str
    def __init__(self, holder: _Optional[str] = ..., secret: _Optional[str] = ..., states: _Optional[_Iterable[_Union[LeaseState, str]]] = ..., secret_prefix: _Optional[str] = ..., version: _Optional[str] = ..., provider: _Optional[str] = ...) -> None: ...
