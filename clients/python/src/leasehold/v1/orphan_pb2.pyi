import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrphanState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORPHAN_STATE_UNSPECIFIED: _ClassVar[OrphanState]
    ORPHAN_STATE_IN_GRACE: _ClassVar[OrphanState]
    ORPHAN_STATE_REVOKED: _ClassVar[OrphanState]
    ORPHAN_STATE_FAILED: _ClassVar[OrphanState]
    ORPHAN_STATE_LEFT: _ClassVar[OrphanState]
ORPHAN_STATE_UNSPECIFIED: OrphanState
ORPHAN_STATE_IN_GRACE: OrphanState
ORPHAN_STATE_REVOKED: OrphanState
ORPHAN_STATE_FAILED: OrphanState
ORPHAN_STATE_LEFT: OrphanState

class Orphan(_message.Message):
    __slots__ = ("provider", "name", "lease_id", "first_seen_time", "state", "problem")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    provider: str
    name: str
    lease_id: str
    first_seen_time: _timestamp_pb2.Timestamp
    state: OrphanState
    problem: str
    def __init__(self, provider: _Optional[str] = ..., name: _Optional[str] = ..., lease_id: _Optional[str] = ..., first_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[OrphanState, str]] = ..., problem: _Optional[str] = ...) -> None: ...

class OrphanSweepFailure(_message.Message):
    __slots__ = ("provider", "problem")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    provider: str
    problem: str
    def __init__(self, provider: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...
