import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from leasehold.v1 import lease_pb2 as _lease_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RevocationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVOCATION_STATE_UNSPECIFIED: _ClassVar[RevocationState]
    REVOCATION_STATE_RUNNING: _ClassVar[RevocationState]
    REVOCATION_STATE_FINISHED: _ClassVar[RevocationState]
    REVOCATION_STATE_PREVIEWED: _ClassVar[RevocationState]
REVOCATION_STATE_UNSPECIFIED: RevocationState
REVOCATION_STATE_RUNNING: RevocationState
REVOCATION_STATE_FINISHED: RevocationState
REVOCATION_STATE_PREVIEWED: RevocationState

class Revocation(_message.Message):
    __slots__ = ("id", "filter", "reason", "actor", "state", "start_time", "end_time", "total_count", "done_count", "failed_count", "quarantined_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    DONE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    filter: _lease_pb2.LeaseFilter
    reason: str
    actor: str
    state: RevocationState
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    total_count: int
    done_count: int
    failed_count: int
    quarantined_count: int
    def __init__(self, id: _Optional[str] = ..., filter: _Optional[_Union[_lease_pb2.LeaseFilter, _Mapping]] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., state: _Optional[_Union[RevocationState, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total_count: _Optional[int] = ..., done_count: _Optional[int] = ..., failed_count: _Optional[int] = ..., quarantined_count: _Optional[int] = ...) -> None: ...
