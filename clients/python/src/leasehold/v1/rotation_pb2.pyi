import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from leasehold.v1 import lease_pb2 as _lease_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RotationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTATION_STATE_UNSPECIFIED: _ClassVar[RotationState]
    ROTATION_STATE_IDLE: _ClassVar[RotationState]
    ROTATION_STATE_CREATING: _ClassVar[RotationState]
    ROTATION_STATE_CREATED: _ClassVar[RotationState]
    ROTATION_STATE_APPLIED: _ClassVar[RotationState]
    ROTATION_STATE_TESTED: _ClassVar[RotationState]
    ROTATION_STATE_DRAINING: _ClassVar[RotationState]
    ROTATION_STATE_RETIRING: _ClassVar[RotationState]
    ROTATION_STATE_CLOSING: _ClassVar[RotationState]
    ROTATION_STATE_DISCARDING: _ClassVar[RotationState]
    ROTATION_STATE_REVERTING: _ClassVar[RotationState]

class RotationStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTATION_STRATEGY_UNSPECIFIED: _ClassVar[RotationStrategy]
    ROTATION_STRATEGY_GENERATE: _ClassVar[RotationStrategy]
    ROTATION_STRATEGY_SINGLE: _ClassVar[RotationStrategy]
    ROTATION_STRATEGY_ALTERNATING: _ClassVar[RotationStrategy]
    ROTATION_STRATEGY_PROVIDER_NATIVE: _ClassVar[RotationStrategy]
    ROTATION_STRATEGY_COMMAND: _ClassVar[RotationStrategy]

class RotationCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTATION_CAUSE_UNSPECIFIED: _ClassVar[RotationCause]
    ROTATION_CAUSE_SCHEDULE: _ClassVar[RotationCause]
    ROTATION_CAUSE_REQUEST: _ClassVar[RotationCause]
    ROTATION_CAUSE_REVOCATION: _ClassVar[RotationCause]

class RotationOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTATION_OUTCOME_UNSPECIFIED: _ClassVar[RotationOutcome]
    ROTATION_OUTCOME_RETIRED: _ClassVar[RotationOutcome]
    ROTATION_OUTCOME_ROLLED_BACK: _ClassVar[RotationOutcome]
    ROTATION_OUTCOME_DISCARDED: _ClassVar[RotationOutcome]
ROTATION_STATE_UNSPECIFIED: RotationState
ROTATION_STATE_IDLE: RotationState
ROTATION_STATE_CREATING: RotationState
ROTATION_STATE_CREATED: RotationState
ROTATION_STATE_APPLIED: RotationState
ROTATION_STATE_TESTED: RotationState
ROTATION_STATE_DRAINING: RotationState
ROTATION_STATE_RETIRING: RotationState
ROTATION_STATE_CLOSING: RotationState
ROTATION_STATE_DISCARDING: RotationState
ROTATION_STATE_REVERTING: RotationState
ROTATION_STRATEGY_UNSPECIFIED: RotationStrategy
ROTATION_STRATEGY_GENERATE: RotationStrategy
ROTATION_STRATEGY_SINGLE: RotationStrategy
ROTATION_STRATEGY_ALTERNATING: RotationStrategy
ROTATION_STRATEGY_PROVIDER_NATIVE: RotationStrategy
ROTATION_STRATEGY_COMMAND: RotationStrategy
ROTATION_CAUSE_UNSPECIFIED: RotationCause
ROTATION_CAUSE_SCHEDULE: RotationCause
ROTATION_CAUSE_REQUEST: RotationCause
ROTATION_CAUSE_REVOCATION: RotationCause
ROTATION_OUTCOME_UNSPECIFIED: RotationOutcome
ROTATION_OUTCOME_RETIRED: RotationOutcome
ROTATION_OUTCOME_ROLLED_BACK: RotationOutcome
ROTATION_OUTCOME_DISCARDED: RotationOutcome

class Rotation(_message.Message):
    __slots__ = ("secret", "state", "strategy", "current_version", "current_version_time", "next_time", "late_reason", "course", "last", "pause_time", "wanted_time", "schedule", "old_version_lease_count", "serial")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    CURRENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CURRENT_VERSION_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    LATE_REASON_FIELD_NUMBER: _ClassVar[int]
    COURSE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PAUSE_TIME_FIELD_NUMBER: _ClassVar[int]
    WANTED_TIME_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    OLD_VERSION_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    secret: str
    state: RotationState
    strategy: RotationStrategy
    current_version: str
    current_version_time: _timestamp_pb2.Timestamp
    next_time: _timestamp_pb2.Timestamp
    late_reason: str
    course: RotationCourse
    last: RotationEnd
    pause_time: _timestamp_pb2.Timestamp
    wanted_time: _timestamp_pb2.Timestamp
    schedule: str
    old_version_lease_count: int
    serial: int
    def __init__(self, secret: _Optional[str] = ..., state: _Optional[_Union[RotationState, str]] = ..., strategy: _Optional[_Union[RotationStrategy, str]] = ..., current_version: _Optional[str] = ..., current_version_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., late_reason: _Optional[str] = ..., course: _Optional[_Union[RotationCourse, _Mapping]] = ..., last: _Optional[_Union[RotationEnd, _Mapping]] = ..., pause_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wanted_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., schedule: _Optional[str] = ..., old_version_lease_count: _Optional[int] = ..., serial: _Optional[int] = ...) -> None: ...

class RotationCourse(_message.Message):
    __slots__ = ("old_version", "new_version", "cause", "actor", "steps", "drain_deadline", "holders", "old_version_lease_count", "failure", "verification", "rolled_back")
    OLD_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    OLD_VERSION_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    ROLLED_BACK_FIELD_NUMBER: _ClassVar[int]
    old_version: str
    new_version: str
    cause: RotationCause
    actor: str
    steps: _containers.RepeatedCompositeFieldContainer[RotationStep]
    drain_deadline: _timestamp_pb2.Timestamp
    holders: _containers.RepeatedCompositeFieldContainer[RotationHolder]
    old_version_lease_count: int
    failure: RotationFailure
    verification: _lease_pb2.LeaseVerification
    rolled_back: bool
    def __init__(self, old_version: _Optional[str] = ..., new_version: _Optional[str] = ..., cause: _Optional[_Union[RotationCause, str]] = ..., actor: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[RotationStep, _Mapping]]] = ..., drain_deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., holders: _Optional[_Iterable[_Union[RotationHolder, _Mapping]]] = ..., old_version_lease_count: _Optional[int] = ..., failure: _Optional[_Union[RotationFailure, _Mapping]] = ..., verification: _Optional[_Union[_lease_pb2.LeaseVerification, str]] = ..., rolled_back: bool = ...) -> None: ...

class RotationStep(_message.Message):
    __slots__ = ("state", "reach_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REACH_TIME_FIELD_NUMBER: _ClassVar[int]
    state: RotationState
    reach_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[RotationState, str]] = ..., reach_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RotationHolder(_message.Message):
    __slots__ = ("holder", "lease_id", "expire_time")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    holder: str
    lease_id: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, holder: _Optional[str] = ..., lease_id: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RotationFailure(_message.Message):
    __slots__ = ("message", "attempt_count", "next_time")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    message: str
    attempt_count: int
    next_time: _timestamp_pb2.Timestamp
    def __init__(self, message: _Optional[str] = ..., attempt_count: _Optional[int] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RotationEnd(_message.Message):
    __slots__ = ("outcome", "end_time", "old_version", "new_version", "verification", "problem")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OLD_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    outcome: RotationOutcome
    end_time: _timestamp_pb2.Timestamp
    old_version: str
    new_version: str
    verification: _lease_pb2.LeaseVerification
    problem: str
    def __init__(self, outcome: _Optional[_Union[RotationOutcome, str]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., old_version: _Optional[str] = ..., new_version: _Optional[str] = ..., verification: _Optional[_Union[_lease_pb2.LeaseVerification, str]] = ..., problem: _Optional[str] = ...) -> None: ...

class RotationFilter(_message.Message):
    __slots__ = ("secret_prefix", "states", "attention")
    SECRET_PREFIX_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    secret_prefix: str
    states: _containers.RepeatedScalarFieldContainer[RotationState]
    attention: bool
    def __init__(self, secret_prefix: _Optional[str] = ..., states: _Optional[_Iterable[_Union[RotationState, str]]] = ..., attention: bool = ...) -> None: ...

class RotationPreview(_message.Message):
    __slots__ = ("steps", "lease_count", "drain")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[RotationPreviewStep]
    lease_count: int
    drain: _duration_pb2.Duration
    def __init__(self, steps: _Optional[_Iterable[_Union[RotationPreviewStep, _Mapping]]] = ..., lease_count: _Optional[int] = ..., drain: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RotationPreviewStep(_message.Message):
    __slots__ = ("step", "ok", "message")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    step: str
    ok: bool
    message: str
    def __init__(self, step: _Optional[str] = ..., ok: bool = ..., message: _Optional[str] = ...) -> None: ...
