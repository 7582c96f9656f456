import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HoldReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLD_REASON_UNSPECIFIED: _ClassVar[HoldReason]
    HOLD_REASON_REQUESTED: _ClassVar[HoldReason]
    HOLD_REASON_RESTORED: _ClassVar[HoldReason]
HOLD_REASON_UNSPECIFIED: HoldReason
HOLD_REASON_REQUESTED: HoldReason
HOLD_REASON_RESTORED: HoldReason

class Hold(_message.Message):
    __slots__ = ("start_time", "reason", "due_static_lease_count", "providers")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DUE_STATIC_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    reason: HoldReason
    due_static_lease_count: int
    providers: _containers.RepeatedCompositeFieldContainer[HeldProvider]
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[HoldReason, str]] = ..., due_static_lease_count: _Optional[int] = ..., providers: _Optional[_Iterable[_Union[HeldProvider, _Mapping]]] = ...) -> None: ...

class HeldProvider(_message.Message):
    __slots__ = ("provider", "due_credential_count", "orphan_count", "missing_count", "problem")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DUE_CREDENTIAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ORPHAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    provider: str
    due_credential_count: int
    orphan_count: int
    missing_count: int
    problem: str
    def __init__(self, provider: _Optional[str] = ..., due_credential_count: _Optional[int] = ..., orphan_count: _Optional[int] = ..., missing_count: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...
