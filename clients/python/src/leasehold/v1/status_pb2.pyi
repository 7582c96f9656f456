import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from leasehold.v1 import secret_pb2 as _secret_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CircuitState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CIRCUIT_STATE_UNSPECIFIED: _ClassVar[CircuitState]
    CIRCUIT_STATE_CLOSED: _ClassVar[CircuitState]
    CIRCUIT_STATE_OPEN: _ClassVar[CircuitState]
    CIRCUIT_STATE_HALF_OPEN: _ClassVar[CircuitState]

class LedgerHealth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_HEALTH_UNSPECIFIED: _ClassVar[LedgerHealth]
    LEDGER_HEALTH_OK: _ClassVar[LedgerHealth]
    LEDGER_HEALTH_FULL: _ClassVar[LedgerHealth]
    LEDGER_HEALTH_UNAVAILABLE: _ClassVar[LedgerHealth]
    LEDGER_HEALTH_POISONED: _ClassVar[LedgerHealth]
CIRCUIT_STATE_UNSPECIFIED: CircuitState
CIRCUIT_STATE_CLOSED: CircuitState
CIRCUIT_STATE_OPEN: CircuitState
CIRCUIT_STATE_HALF_OPEN: CircuitState
LEDGER_HEALTH_UNSPECIFIED: LedgerHealth
LEDGER_HEALTH_OK: LedgerHealth
LEDGER_HEALTH_FULL: LedgerHealth
LEDGER_HEALTH_UNAVAILABLE: LedgerHealth
LEDGER_HEALTH_POISONED: LedgerHealth

class BrokerStatus(_message.Message):
    __slots__ = ("version", "node", "trust_domain", "start_time", "current_time", "live_lease_count", "quarantined_lease_count", "secret_count", "mount_count", "providers", "ledger", "policies", "last_reload", "on_hold", "orphan_count")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CURRENT_TIME_FIELD_NUMBER: _ClassVar[int]
    LIVE_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECRET_COUNT_FIELD_NUMBER: _ClassVar[int]
    MOUNT_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    LAST_RELOAD_FIELD_NUMBER: _ClassVar[int]
    ON_HOLD_FIELD_NUMBER: _ClassVar[int]
    ORPHAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    version: str
    node: str
    trust_domain: str
    start_time: _timestamp_pb2.Timestamp
    current_time: _timestamp_pb2.Timestamp
    live_lease_count: int
    quarantined_lease_count: int
    secret_count: int
    mount_count: int
    providers: _containers.RepeatedCompositeFieldContainer[ProviderStatus]
    ledger: LedgerStatus
    policies: PolicyStatus
    last_reload: ReloadStatus
    on_hold: bool
    orphan_count: int
    def __init__(self, version: _Optional[str] = ..., node: _Optional[str] = ..., trust_domain: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., current_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., live_lease_count: _Optional[int] = ..., quarantined_lease_count: _Optional[int] = ..., secret_count: _Optional[int] = ..., mount_count: _Optional[int] = ..., providers: _Optional[_Iterable[_Union[ProviderStatus, _Mapping]]] = ..., ledger: _Optional[_Union[LedgerStatus, _Mapping]] = ..., policies: _Optional[_Union[PolicyStatus, _Mapping]] = ..., last_reload: _Optional[_Union[ReloadStatus, _Mapping]] = ..., on_hold: bool = ..., orphan_count: _Optional[int] = ...) -> None: ...

class ProviderStatus(_message.Message):
    __slots__ = ("name", "capabilities", "unavailable_reason", "credential_expire_time", "sign_in_problem", "circuit", "call_count", "failure_count", "throttled_count", "turned_away_count", "circuit_open_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGN_IN_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CIRCUIT_FIELD_NUMBER: _ClassVar[int]
    CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TURNED_AWAY_COUNT_FIELD_NUMBER: _ClassVar[int]
    CIRCUIT_OPEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    capabilities: _secret_pb2.ProviderCapabilities
    unavailable_reason: str
    credential_expire_time: _timestamp_pb2.Timestamp
    sign_in_problem: str
    circuit: CircuitState
    call_count: int
    failure_count: int
    throttled_count: int
    turned_away_count: int
    circuit_open_count: int
    def __init__(self, name: _Optional[str] = ..., capabilities: _Optional[_Union[_secret_pb2.ProviderCapabilities, _Mapping]] = ..., unavailable_reason: _Optional[str] = ..., credential_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sign_in_problem: _Optional[str] = ..., circuit: _Optional[_Union[CircuitState, str]] = ..., call_count: _Optional[int] = ..., failure_count: _Optional[int] = ..., throttled_count: _Optional[int] = ..., turned_away_count: _Optional[int] = ..., circuit_open_count: _Optional[int] = ...) -> None: ...

class LedgerStatus(_message.Message):
    __slots__ = ("backend", "health", "health_message", "head_sequence", "commit_count", "batch_count", "fsync_count", "journal_bytes", "conflict_count", "snapshot_count")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HEAD_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COMMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    FSYNC_COUNT_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    backend: str
    health: LedgerHealth
    health_message: str
    head_sequence: int
    commit_count: int
    batch_count: int
    fsync_count: int
    journal_bytes: int
    conflict_count: int
    snapshot_count: int
    def __init__(self, backend: _Optional[str] = ..., health: _Optional[_Union[LedgerHealth, str]] = ..., health_message: _Optional[str] = ..., head_sequence: _Optional[int] = ..., commit_count: _Optional[int] = ..., batch_count: _Optional[int] = ..., fsync_count: _Optional[int] = ..., journal_bytes: _Optional[int] = ..., conflict_count: _Optional[int] = ..., snapshot_count: _Optional[int] = ...) -> None: ...

class PolicyStatus(_message.Message):
    __slots__ = ("digest", "policy_count")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_COUNT_FIELD_NUMBER: _ClassVar[int]
    digest: str
    policy_count: int
    def __init__(self, digest: _Optional[str] = ..., policy_count: _Optional[int] = ...) -> None: ...

class ReloadStatus(_message.Message):
    __slots__ = ("time", "rejection")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    rejection: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rejection: _Optional[str] = ...) -> None: ...
