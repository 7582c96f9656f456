import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from leasehold.v1 import lease_pb2 as _lease_pb2
from leasehold.v1 import secret_pb2 as _secret_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LeaseChange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_CHANGE_UNSPECIFIED: _ClassVar[LeaseChange]
    LEASE_CHANGE_SNAPSHOT: _ClassVar[LeaseChange]
    LEASE_CHANGE_ISSUED: _ClassVar[LeaseChange]
    LEASE_CHANGE_RENEWED: _ClassVar[LeaseChange]
    LEASE_CHANGE_REVOKED: _ClassVar[LeaseChange]
    LEASE_CHANGE_EXPIRED: _ClassVar[LeaseChange]
    LEASE_CHANGE_QUARANTINED: _ClassVar[LeaseChange]
    LEASE_CHANGE_EXPIRING_SOON: _ClassVar[LeaseChange]
    LEASE_CHANGE_ROTATED: _ClassVar[LeaseChange]
    LEASE_CHANGE_MOVED: _ClassVar[LeaseChange]
    LEASE_CHANGE_DRAINING: _ClassVar[LeaseChange]
    LEASE_CHANGE_RETIRED: _ClassVar[LeaseChange]
LEASE_CHANGE_UNSPECIFIED: LeaseChange
LEASE_CHANGE_SNAPSHOT: LeaseChange
LEASE_CHANGE_ISSUED: LeaseChange
LEASE_CHANGE_RENEWED: LeaseChange
LEASE_CHANGE_REVOKED: LeaseChange
LEASE_CHANGE_EXPIRED: LeaseChange
LEASE_CHANGE_QUARANTINED: LeaseChange
LEASE_CHANGE_EXPIRING_SOON: LeaseChange
LEASE_CHANGE_ROTATED: LeaseChange
LEASE_CHANGE_MOVED: LeaseChange
LEASE_CHANGE_DRAINING: LeaseChange
LEASE_CHANGE_RETIRED: LeaseChange

class IssueLeaseRequest(_message.Message):
    __slots__ = ("secret", "ttl", "fields", "request_id")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    secret: str
    ttl: _duration_pb2.Duration
    fields: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    def __init__(self, secret: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fields: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class IssueLeaseResponse(_message.Message):
    __slots__ = ("lease", "value")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    value: _secret_pb2.SecretValue
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ..., value: _Optional[_Union[_secret_pb2.SecretValue, _Mapping]] = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "ttl", "request_id", "accept_rotation")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_ROTATION_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    ttl: _duration_pb2.Duration
    request_id: str
    accept_rotation: bool
    def __init__(self, lease_id: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ..., accept_rotation: bool = ...) -> None: ...

class RenewLeaseResponse(_message.Message):
    __slots__ = ("lease", "value")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    value: _secret_pb2.SecretValue
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ..., value: _Optional[_Union[_secret_pb2.SecretValue, _Mapping]] = ...) -> None: ...

class RevokeLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "reason", "request_id")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    reason: str
    request_id: str
    def __init__(self, lease_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RevokeLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ...) -> None: ...

class GetLeaseRequest(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    def __init__(self, lease_id: _Optional[str] = ...) -> None: ...

class GetLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ...) -> None: ...

class ListLeasesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: _lease_pb2.LeaseFilter
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[_lease_pb2.LeaseFilter, _Mapping]] = ...) -> None: ...

class ListLeasesResponse(_message.Message):
    __slots__ = ("leases", "next_page_token")
    LEASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[_lease_pb2.Lease]
    next_page_token: str
    def __init__(self, leases: _Optional[_Iterable[_Union[_lease_pb2.Lease, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchLeasesRequest(_message.Message):
    __slots__ = ("resume_token",)
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    def __init__(self, resume_token: _Optional[str] = ...) -> None: ...

class WatchLeasesResponse(_message.Message):
    __slots__ = ("resume_token", "lease_event")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_EVENT_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    lease_event: LeaseEvent
    def __init__(self, resume_token: _Optional[str] = ..., lease_event: _Optional[_Union[LeaseEvent, _Mapping]] = ...) -> None: ...

class LeaseEvent(_message.Message):
    __slots__ = ("change", "lease", "current_version", "drain_deadline")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    change: LeaseChange
    lease: _lease_pb2.Lease
    current_version: str
    drain_deadline: _timestamp_pb2.Timestamp
    def __init__(self, change: _Optional[_Union[LeaseChange, str]] = ..., lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ..., current_version: _Optional[str] = ..., drain_deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchSecretRequest(_message.Message):
    __slots__ = ("secret", "resume_token")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    secret: str
    resume_token: str
    def __init__(self, secret: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchSecretResponse(_message.Message):
    __slots__ = ("resume_token", "standing", "rotated", "draining", "retired")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    ROTATED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    standing: SecretStanding
    rotated: SecretRotated
    draining: SecretDraining
    retired: SecretRetired
    def __init__(self, resume_token: _Optional[str] = ..., standing: _Optional[_Union[SecretStanding, _Mapping]] = ..., rotated: _Optional[_Union[SecretRotated, _Mapping]] = ..., draining: _Optional[_Union[SecretDraining, _Mapping]] = ..., retired: _Optional[_Union[SecretRetired, _Mapping]] = ...) -> None: ...

class SecretStanding(_message.Message):
    __slots__ = ("current_version", "draining_version", "drain_deadline")
    CURRENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    DRAINING_VERSION_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    current_version: str
    draining_version: str
    drain_deadline: _timestamp_pb2.Timestamp
    def __init__(self, current_version: _Optional[str] = ..., draining_version: _Optional[str] = ..., drain_deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SecretRotated(_message.Message):
    __slots__ = ("version", "rotate_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROTATE_TIME_FIELD_NUMBER: _ClassVar[int]
    version: str
    rotate_time: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., rotate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SecretDraining(_message.Message):
    __slots__ = ("version", "drain_deadline")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    version: str
    drain_deadline: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., drain_deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SecretRetired(_message.Message):
    __slots__ = ("version", "retire_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RETIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    version: str
    retire_time: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., retire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
