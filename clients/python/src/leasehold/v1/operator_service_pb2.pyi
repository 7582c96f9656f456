from leasehold.v1 import audit_pb2 as _audit_pb2
from leasehold.v1 import error_reason_pb2 as _error_reason_pb2
from leasehold.v1 import hold_pb2 as _hold_pb2
from leasehold.v1 import lease_pb2 as _lease_pb2
from leasehold.v1 import orphan_pb2 as _orphan_pb2
from leasehold.v1 import provider_check_pb2 as _provider_check_pb2
from leasehold.v1 import revocation_pb2 as _revocation_pb2
from leasehold.v1 import rotation_pb2 as _rotation_pb2
from leasehold.v1 import secret_pb2 as _secret_pb2
from leasehold.v1 import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperatorServiceListLeasesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: _lease_pb2.LeaseFilter
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[_lease_pb2.LeaseFilter, _Mapping]] = ...) -> None: ...

class OperatorServiceListLeasesResponse(_message.Message):
    __slots__ = ("leases", "next_page_token")
    LEASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[_lease_pb2.Lease]
    next_page_token: str
    def __init__(self, leases: _Optional[_Iterable[_Union[_lease_pb2.Lease, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeLeasesRequest(_message.Message):
    __slots__ = ("lease_ids", "reason", "request_id", "rotate")
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROTATE_FIELD_NUMBER: _ClassVar[int]
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    request_id: str
    rotate: bool
    def __init__(self, lease_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., rotate: bool = ...) -> None: ...

class RevokeLeasesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RevokeLeaseResult]
    def __init__(self, results: _Optional[_Iterable[_Union[RevokeLeaseResult, _Mapping]]] = ...) -> None: ...

class RevokeLeaseResult(_message.Message):
    __slots__ = ("lease_id", "lease", "failure")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    lease: _lease_pb2.Lease
    failure: RevokeLeaseFailure
    def __init__(self, lease_id: _Optional[str] = ..., lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ..., failure: _Optional[_Union[RevokeLeaseFailure, _Mapping]] = ...) -> None: ...

class RevokeLeaseFailure(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class StartRevocationRequest(_message.Message):
    __slots__ = ("filter", "dry_run", "reason", "request_id", "rotate")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROTATE_FIELD_NUMBER: _ClassVar[int]
    filter: _lease_pb2.LeaseFilter
    dry_run: bool
    reason: str
    request_id: str
    rotate: bool
    def __init__(self, filter: _Optional[_Union[_lease_pb2.LeaseFilter, _Mapping]] = ..., dry_run: bool = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., rotate: bool = ...) -> None: ...

class StartRevocationResponse(_message.Message):
    __slots__ = ("revocation",)
    REVOCATION_FIELD_NUMBER: _ClassVar[int]
    revocation: _revocation_pb2.Revocation
    def __init__(self, revocation: _Optional[_Union[_revocation_pb2.Revocation, _Mapping]] = ...) -> None: ...

class WatchRevocationRequest(_message.Message):
    __slots__ = ("revocation_id",)
    REVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    revocation_id: str
    def __init__(self, revocation_id: _Optional[str] = ...) -> None: ...

class WatchRevocationResponse(_message.Message):
    __slots__ = ("revocation",)
    REVOCATION_FIELD_NUMBER: _ClassVar[int]
    revocation: _revocation_pb2.Revocation
    def __init__(self, revocation: _Optional[_Union[_revocation_pb2.Revocation, _Mapping]] = ...) -> None: ...

class ListRevocationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevocationsResponse(_message.Message):
    __slots__ = ("revocations", "next_page_token")
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revocations: _containers.RepeatedCompositeFieldContainer[_revocation_pb2.Revocation]
    next_page_token: str
    def __init__(self, revocations: _Optional[_Iterable[_Union[_revocation_pb2.Revocation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "request_id")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    request_id: str
    def __init__(self, lease_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ...) -> None: ...

class ForgetLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "reason", "request_id")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    reason: str
    request_id: str
    def __init__(self, lease_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ForgetLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _lease_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_lease_pb2.Lease, _Mapping]] = ...) -> None: ...

class SweepOrphansRequest(_message.Message):
    __slots__ = ("provider", "dry_run")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    dry_run: bool
    def __init__(self, provider: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class SweepOrphansResponse(_message.Message):
    __slots__ = ("orphans", "failures")
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    orphans: _containers.RepeatedCompositeFieldContainer[_orphan_pb2.Orphan]
    failures: _containers.RepeatedCompositeFieldContainer[_orphan_pb2.OrphanSweepFailure]
    def __init__(self, orphans: _Optional[_Iterable[_Union[_orphan_pb2.Orphan, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_orphan_pb2.OrphanSweepFailure, _Mapping]]] = ...) -> None: ...

class GetHoldRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHoldResponse(_message.Message):
    __slots__ = ("hold",)
    HOLD_FIELD_NUMBER: _ClassVar[int]
    hold: _hold_pb2.Hold
    def __init__(self, hold: _Optional[_Union[_hold_pb2.Hold, _Mapping]] = ...) -> None: ...

class ReleaseHoldRequest(_message.Message):
    __slots__ = ("reason", "request_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    request_id: str
    def __init__(self, reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ReleaseHoldResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSecretsRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSecretsResponse(_message.Message):
    __slots__ = ("secrets", "next_page_token")
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    secrets: _containers.RepeatedCompositeFieldContainer[_secret_pb2.Secret]
    next_page_token: str
    def __init__(self, secrets: _Optional[_Iterable[_Union[_secret_pb2.Secret, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetSecretRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class GetSecretResponse(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: _secret_pb2.Secret
    def __init__(self, secret: _Optional[_Union[_secret_pb2.Secret, _Mapping]] = ...) -> None: ...

class WriteSecretRequest(_message.Message):
    __slots__ = ("path", "value", "expected_version", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    value: _secret_pb2.SecretValue
    expected_version: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., value: _Optional[_Union[_secret_pb2.SecretValue, _Mapping]] = ..., expected_version: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WriteSecretResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class ListSecretVersionsRequest(_message.Message):
    __slots__ = ("path", "page_size", "page_token")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    path: str
    page_size: int
    page_token: str
    def __init__(self, path: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSecretVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[_secret_pb2.SecretVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[_secret_pb2.SecretVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ChangeSecretRequest(_message.Message):
    __slots__ = ("path", "change", "version", "reason", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    change: _secret_pb2.SecretChange
    version: str
    reason: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., change: _Optional[_Union[_secret_pb2.SecretChange, str]] = ..., version: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ChangeSecretResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateSecretRequest(_message.Message):
    __slots__ = ("path", "dry_run", "reason", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    dry_run: bool
    reason: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., dry_run: bool = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RotateSecretResponse(_message.Message):
    __slots__ = ("rotation", "preview")
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    preview: _rotation_pb2.RotationPreview
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ..., preview: _Optional[_Union[_rotation_pb2.RotationPreview, _Mapping]] = ...) -> None: ...

class ListRotationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: _rotation_pb2.RotationFilter
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[_rotation_pb2.RotationFilter, _Mapping]] = ...) -> None: ...

class ListRotationsResponse(_message.Message):
    __slots__ = ("rotations", "next_page_token")
    ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rotations: _containers.RepeatedCompositeFieldContainer[_rotation_pb2.Rotation]
    next_page_token: str
    def __init__(self, rotations: _Optional[_Iterable[_Union[_rotation_pb2.Rotation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRotationRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class GetRotationResponse(_message.Message):
    __slots__ = ("rotation",)
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ...) -> None: ...

class WatchRotationRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class WatchRotationResponse(_message.Message):
    __slots__ = ("rotation",)
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ...) -> None: ...

class PauseRotationRequest(_message.Message):
    __slots__ = ("path", "reason", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PauseRotationResponse(_message.Message):
    __slots__ = ("rotation",)
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ...) -> None: ...

class ResumeRotationRequest(_message.Message):
    __slots__ = ("path", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeRotationResponse(_message.Message):
    __slots__ = ("rotation",)
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ...) -> None: ...

class RollBackRotationRequest(_message.Message):
    __slots__ = ("path", "reason", "request_id")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    request_id: str
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RollBackRotationResponse(_message.Message):
    __slots__ = ("rotation",)
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    rotation: _rotation_pb2.Rotation
    def __init__(self, rotation: _Optional[_Union[_rotation_pb2.Rotation, _Mapping]] = ...) -> None: ...

class CheckProviderRequest(_message.Message):
    __slots__ = ("provider",)
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    provider: str
    def __init__(self, provider: _Optional[str] = ...) -> None: ...

class CheckProviderResponse(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[_provider_check_pb2.ProviderCheck]
    def __init__(self, checks: _Optional[_Iterable[_Union[_provider_check_pb2.ProviderCheck, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _status_pb2.BrokerStatus
    def __init__(self, status: _Optional[_Union[_status_pb2.BrokerStatus, _Mapping]] = ...) -> None: ...

class QueryAuditRequest(_message.Message):
    __slots__ = ("filter", "start_sequence", "tail_count", "limit", "follow")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    START_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TAIL_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    filter: _audit_pb2.AuditFilter
    start_sequence: int
    tail_count: int
    limit: int
    follow: bool
    def __init__(self, filter: _Optional[_Union[_audit_pb2.AuditFilter, _Mapping]] = ..., start_sequence: _Optional[int] = ..., tail_count: _Optional[int] = ..., limit: _Optional[int] = ..., follow: bool = ...) -> None: ...

class QueryAuditResponse(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: _audit_pb2.AuditRecord
    def __init__(self, record: _Optional[_Union[_audit_pb2.AuditRecord, _Mapping]] = ...) -> None: ...
