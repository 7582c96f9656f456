from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProviderVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVIDER_VERDICT_UNSPECIFIED: _ClassVar[ProviderVerdict]
    PROVIDER_VERDICT_PASSED: _ClassVar[ProviderVerdict]
    PROVIDER_VERDICT_FAILED: _ClassVar[ProviderVerdict]
    PROVIDER_VERDICT_NOT_TRIED: _ClassVar[ProviderVerdict]
PROVIDER_VERDICT_UNSPECIFIED: ProviderVerdict
PROVIDER_VERDICT_PASSED: ProviderVerdict
PROVIDER_VERDICT_FAILED: ProviderVerdict
PROVIDER_VERDICT_NOT_TRIED: ProviderVerdict

class ProviderCheck(_message.Message):
    __slots__ = ("provider", "findings")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    findings: _containers.RepeatedCompositeFieldContainer[ProviderFinding]
    def __init__(self, provider: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[ProviderFinding, _Mapping]]] = ...) -> None: ...

class ProviderFinding(_message.Message):
    __slots__ = ("step", "verdict", "message", "remedy", "grant")
    STEP_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    step: str
    verdict: ProviderVerdict
    message: str
    remedy: str
    grant: str
    def __init__(self, step: _Optional[str] = ..., verdict: _Optional[_Union[ProviderVerdict, str]] = ..., message: _Optional[str] = ..., remedy: _Optional[str] = ..., grant: _Optional[str] = ...) -> None: ...
