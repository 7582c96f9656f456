import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProviderCapability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVIDER_CAPABILITY_UNSPECIFIED: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_READ: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_READ_VERSIONS: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_WRITE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_STAGE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_ISSUE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_RENEW: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_REVOKE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_ROTATE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_PROMOTE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_DISABLE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_ENABLE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_DESTROY: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_DELETE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_RESTORE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_PURGE: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_VERIFY: _ClassVar[ProviderCapability]
    PROVIDER_CAPABILITY_LIST_ISSUED: _ClassVar[ProviderCapability]

class SecretVersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SECRET_VERSION_STATE_UNSPECIFIED: _ClassVar[SecretVersionState]
    SECRET_VERSION_STATE_ENABLED: _ClassVar[SecretVersionState]
    SECRET_VERSION_STATE_DISABLED: _ClassVar[SecretVersionState]
    SECRET_VERSION_STATE_DELETED: _ClassVar[SecretVersionState]
    SECRET_VERSION_STATE_DESTROYED: _ClassVar[SecretVersionState]

class SecretChange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SECRET_CHANGE_UNSPECIFIED: _ClassVar[SecretChange]
    SECRET_CHANGE_PROMOTE: _ClassVar[SecretChange]
    SECRET_CHANGE_DISABLE: _ClassVar[SecretChange]
    SECRET_CHANGE_ENABLE: _ClassVar[SecretChange]
    SECRET_CHANGE_DESTROY: _ClassVar[SecretChange]
    SECRET_CHANGE_DELETE: _ClassVar[SecretChange]
    SECRET_CHANGE_RESTORE: _ClassVar[SecretChange]
    SECRET_CHANGE_PURGE: _ClassVar[SecretChange]
PROVIDER_CAPABILITY_UNSPECIFIED: ProviderCapability
PROVIDER_CAPABILITY_READ: ProviderCapability
PROVIDER_CAPABILITY_READ_VERSIONS: ProviderCapability
PROVIDER_CAPABILITY_WRITE: ProviderCapability
PROVIDER_CAPABILITY_STAGE: ProviderCapability
PROVIDER_CAPABILITY_ISSUE: ProviderCapability
PROVIDER_CAPABILITY_RENEW: ProviderCapability
PROVIDER_CAPABILITY_REVOKE: ProviderCapability
PROVIDER_CAPABILITY_ROTATE: ProviderCapability
PROVIDER_CAPABILITY_PROMOTE: ProviderCapability
PROVIDER_CAPABILITY_DISABLE: ProviderCapability
PROVIDER_CAPABILITY_ENABLE: ProviderCapability
PROVIDER_CAPABILITY_DESTROY: ProviderCapability
PROVIDER_CAPABILITY_DELETE: ProviderCapability
PROVIDER_CAPABILITY_RESTORE: ProviderCapability
PROVIDER_CAPABILITY_PURGE: ProviderCapability
PROVIDER_CAPABILITY_VERIFY: ProviderCapability
PROVIDER_CAPABILITY_LIST_ISSUED: ProviderCapability
SECRET_VERSION_STATE_UNSPECIFIED: SecretVersionState
SECRET_VERSION_STATE_ENABLED: SecretVersionState
SECRET_VERSION_STATE_DISABLED: SecretVersionState
SECRET_VERSION_STATE_DELETED: SecretVersionState
SECRET_VERSION_STATE_DESTROYED: SecretVersionState
SECRET_CHANGE_UNSPECIFIED: SecretChange
SECRET_CHANGE_PROMOTE: SecretChange
SECRET_CHANGE_DISABLE: SecretChange
SECRET_CHANGE_ENABLE: SecretChange
SECRET_CHANGE_DESTROY: SecretChange
SECRET_CHANGE_DELETE: SecretChange
SECRET_CHANGE_RESTORE: SecretChange
SECRET_CHANGE_PURGE: SecretChange

class SecretValue(_message.Message):
    __slots__ = ("fields", "content_type")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.ScalarMap[str, bytes]
    content_type: str
    def __init__(self, fields: _Optional[_Mapping[str, bytes]] = ..., content_type: _Optional[str] = ...) -> None: ...

class Secret(_message.Message):
    __slots__ = ("path", "provider", "static_source", "dynamic_source", "default_ttl", "max_ttl", "mount", "live_lease_count", "description", "capabilities")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    STATIC_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    LIVE_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    path: str
    provider: str
    static_source: StaticSource
    dynamic_source: DynamicSource
    default_ttl: _duration_pb2.Duration
    max_ttl: _duration_pb2.Duration
    mount: str
    live_lease_count: int
    description: str
    capabilities: ProviderCapabilities
    def __init__(self, path: _Optional[str] = ..., provider: _Optional[str] = ..., static_source: _Optional[_Union[StaticSource, _Mapping]] = ..., dynamic_source: _Optional[_Union[DynamicSource, _Mapping]] = ..., default_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mount: _Optional[str] = ..., live_lease_count: _Optional[int] = ..., description: _Optional[str] = ..., capabilities: _Optional[_Union[ProviderCapabilities, _Mapping]] = ...) -> None: ...

class StaticSource(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class DynamicSource(_message.Message):
    __slots__ = ("role",)
    ROLE_FIELD_NUMBER: _ClassVar[int]
    role: str
    def __init__(self, role: _Optional[str] = ...) -> None: ...

class ProviderCapabilities(_message.Message):
    __slots__ = ("supported", "min_ttl", "max_ttl")
    SUPPORTED_FIELD_NUMBER: _ClassVar[int]
    MIN_TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    supported: _containers.RepeatedScalarFieldContainer[ProviderCapability]
    min_ttl: _duration_pb2.Duration
    max_ttl: _duration_pb2.Duration
    def __init__(self, supported: _Optional[_Iterable[_Union[ProviderCapability, str]]] = ..., min_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SecretVersion(_message.Message):
    __slots__ = ("version", "state", "create_time", "current", "labels", "live_lease_count")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LIVE_LEASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: SecretVersionState
    create_time: _timestamp_pb2.Timestamp
    current: bool
    labels: _containers.RepeatedScalarFieldContainer[str]
    live_lease_count: int
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[SecretVersionState, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., current: bool = ..., labels: _Optional[_Iterable[str]] = ..., live_lease_count: _Optional[int] = ...) -> None: ...
