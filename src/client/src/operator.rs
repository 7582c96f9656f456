//! The calls of operators. What is only looked at (descriptions, status, audit records) is given as the contract's own
//! messages, which are documented there.

use leasehold_core::{
    LeaseId, RequestId, SecretPath, SecretValue, SpiffeId,
    path::PathPrefix,
    provider::{Change, ProviderName},
    secret::VersionId,
};
use leasehold_proto::v1::{self, operator_service_client::OperatorServiceClient};
use tonic::Streaming;

use crate::{
    Error, Lease, LeaseState, Page,
    client::{page, state_numbers, text},
    transport::Transport,
    wire::{missing, value_to_proto},
};

/// The calls of operators over a [`Client`](crate::Client)'s connection.
#[derive(Clone, Debug)]
pub struct Operator {
    transport: Transport,
}

/// Which leases.
#[derive(Clone, Debug, Default)]
pub struct LeaseFilter {
    /// One holder's.
    pub holder: Option<SpiffeId>,
    /// One secret's.
    pub secret: Option<SecretPath>,
    /// On one version of it.
    pub version: Option<VersionId>,
    /// On the secrets under a prefix.
    pub prefix: Option<PathPrefix>,
    /// Of one back end.
    pub provider: Option<ProviderName>,
    /// In any of these states; empty means in any.
    pub states: Vec<LeaseState>,
}

/// What to write.
#[derive(Debug)]
pub struct Write {
    /// The secret.
    pub secret: SecretPath,
    /// The whole new value.
    pub value: SecretValue,
    /// The version that must be current.
    pub expected: Option<VersionId>,
    /// Makes a repeated write the same write.
    pub request_id: Option<RequestId>,
}

/// What to change in a back end.
#[derive(Clone, Debug)]
pub struct SecretChange {
    /// The secret.
    pub secret: SecretPath,
    /// What to do.
    pub change: Change,
    /// The version, if the change is of one.
    pub version: Option<VersionId>,
    /// A reason, for the audit records.
    pub reason: Option<String>,
    /// The client's own name for this request, for the audit records.
    pub request_id: Option<RequestId>,
}

/// What became of one lease that was to be revoked.
#[derive(Debug)]
pub struct Revocation {
    /// The lease's id.
    pub lease_id: String,
    /// The lease after that, or the broker's stable reason and sentence why not.
    pub outcome: Result<Lease, RevocationFailure>,
}

/// Why a lease was not revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFailure {
    /// The stable reason, such as `DENIED_OR_NOT_FOUND`.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Records of the audit journal, in order. See [`Operator::query_audit`].
#[derive(Debug)]
pub struct AuditRecords {
    stream: Streaming<v1::QueryAuditResponse>,
}

impl Operator {
    pub(crate) fn over(transport: Transport) -> Self {
        Self { transport }
    }

    /// A page of anybody's leases that policy lets the caller see.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_leases(
        &self,
        filter: LeaseFilter,
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<Lease>, Error> {
        let request = v1::OperatorServiceListLeasesRequest {
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
            filter: Some(filter.to_proto()),
        };
        let response = self.service().list_leases(request).await?.into_inner();
        page(response.leases, response.next_page_token)
    }

    /// Ends leases before their time, 1 to 100 of them; each has its own result.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_leases(
        &self,
        leases: &[LeaseId],
        reason: Option<String>,
    ) -> Result<Vec<Revocation>, Error> {
        self.revoke_and(false, leases, reason).await
    }

    /// The same, and has the secrets of the static ones among them rotated. A lease whose secret the caller may not have
    /// rotated, or that is not rotated, is not ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_leases_and_rotate(
        &self,
        leases: &[LeaseId],
        reason: Option<String>,
    ) -> Result<Vec<Revocation>, Error> {
        self.revoke_and(true, leases, reason).await
    }

    async fn revoke_and(
        &self,
        rotate: bool,
        leases: &[LeaseId],
        reason: Option<String>,
    ) -> Result<Vec<Revocation>, Error> {
        let request = v1::RevokeLeasesRequest {
            lease_ids: leases.iter().map(ToString::to_string).collect(),
            reason: reason.unwrap_or_default(),
            request_id: String::new(),
            rotate,
        };
        let results = self.service().revoke_leases(request).await?.into_inner().results;
        results.into_iter().map(Revocation::try_from).collect()
    }

    /// A page of the configured secrets that policy lets the caller see.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_secrets(
        &self,
        prefix: Option<&PathPrefix>,
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<v1::Secret>, Error> {
        let request = v1::ListSecretsRequest {
            prefix: text(prefix),
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
        };
        let response = self.service().list_secrets(request).await?.into_inner();
        let next_page_token = Some(response.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { items: response.secrets, next_page_token })
    }

    /// A secret's description, never its value.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secret(&self, path: &SecretPath) -> Result<v1::Secret, Error> {
        let request = v1::GetSecretRequest { path: path.to_string() };
        self.service().get_secret(request).await?.into_inner().secret.ok_or_else(|| missing("secret"))
    }

    /// Writes a new version of a secret and makes it current. Returns the version, in its back end's words.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write_secret(&self, write: Write) -> Result<String, Error> {
        let request = v1::WriteSecretRequest {
            path: write.secret.to_string(),
            value: Some(value_to_proto(write.value)),
            expected_version: text(write.expected.as_ref()),
            request_id: text(write.request_id.as_ref()),
        };
        Ok(self.service().write_secret(request).await?.into_inner().version)
    }

    /// A page of a static secret's versions, the newest first; never their values.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secret_versions(
        &self,
        path: &SecretPath,
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<v1::SecretVersion>, Error> {
        let request = v1::ListSecretVersionsRequest {
            path: path.to_string(),
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
        };
        let response = self.service().list_secret_versions(request).await?.into_inner();
        let next_page_token = Some(response.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { items: response.versions, next_page_token })
    }

    /// Changes a version, or a secret with all its versions, in its back end. To ask for what is so already is a success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn change_secret(&self, change: SecretChange) -> Result<(), Error> {
        let kind = match change.change {
            Change::Promote => v1::SecretChange::Promote,
            Change::Disable => v1::SecretChange::Disable,
            Change::Enable => v1::SecretChange::Enable,
            Change::Destroy => v1::SecretChange::Destroy,
            Change::Delete => v1::SecretChange::Delete,
            Change::Restore => v1::SecretChange::Restore,
            Change::Purge => v1::SecretChange::Purge,
        };
        let request = v1::ChangeSecretRequest {
            path: change.secret.to_string(),
            change: kind.into(),
            version: text(change.version.as_ref()),
            reason: change.reason.unwrap_or_default(),
            request_id: text(change.request_id.as_ref()),
        };
        self.service().change_secret(request).await?;
        Ok(())
    }

    /// Tries whether a back end, or all of them, let the broker do what its catalog will ask. May take a minute.
    ///
    /// # Errors
    /// See [`Error`]; what a back end does not allow is a finding and no error.
    pub async fn check_provider(
        &self,
        provider: Option<&ProviderName>,
    ) -> Result<Vec<v1::ProviderCheck>, Error> {
        let request = v1::CheckProviderRequest { provider: text(provider) };
        Ok(self.service().check_provider(request).await?.into_inner().checks)
    }

    /// Asks a back end, or all of them, for credentials that carry the broker's tag and that no lease stands for, and ends
    /// those that are orphans for longer than the grace period, unless it is a dry run. May take a minute.
    ///
    /// # Errors
    /// See [`Error`]; a back end that cannot be asked is told in the answer.
    pub async fn sweep_orphans(
        &self,
        provider: Option<&ProviderName>,
        dry_run: bool,
    ) -> Result<v1::SweepOrphansResponse, Error> {
        let request = v1::SweepOrphansRequest { provider: text(provider), dry_run };
        Ok(self.service().sweep_orphans(request).await?.into_inner())
    }

    /// Whether the broker is on hold, and what it would end if it were not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn hold(&self) -> Result<Option<v1::Hold>, Error> {
        Ok(self.service().get_hold(v1::GetHoldRequest {}).await?.into_inner().hold)
    }

    /// Ends the hold. To release a broker that is not on hold is a success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn release_hold(&self, reason: String) -> Result<(), Error> {
        let request = v1::ReleaseHoldRequest { reason, request_id: String::new() };
        self.service().release_hold(request).await?;
        Ok(())
    }

    /// The broker's state.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self) -> Result<v1::BrokerStatus, Error> {
        let response = self.service().get_status(v1::GetStatusRequest {}).await?.into_inner();
        response.status.ok_or_else(|| missing("status"))
    }

    /// Reads the audit journal.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn query_audit(&self, query: v1::QueryAuditRequest) -> Result<AuditRecords, Error> {
        Ok(AuditRecords { stream: self.service().query_audit(query).await?.into_inner() })
    }

    pub(crate) fn service(&self) -> OperatorServiceClient<Transport> {
        OperatorServiceClient::new(self.transport.clone())
    }
}

impl LeaseFilter {
    pub(crate) fn to_proto(&self) -> v1::LeaseFilter {
        v1::LeaseFilter {
            holder: text(self.holder.as_ref()),
            secret: text(self.secret.as_ref()),
            states: state_numbers(&self.states),
            secret_prefix: text(self.prefix.as_ref()),
            version: text(self.version.as_ref()),
            provider: text(self.provider.as_ref()),
        }
    }
}

impl AuditRecords {
    /// The next record; `None` when there are no more.
    ///
    /// # Errors
    /// When the connection is lost, or the broker cannot read its journal on.
    pub async fn next(&mut self) -> Result<Option<v1::AuditRecord>, Error> {
        match self.stream.message().await? {
            Some(response) => Ok(Some(response.record.ok_or_else(|| missing("record"))?)),
            None => Ok(None),
        }
    }
}

impl TryFrom<v1::RevokeLeaseResult> for Revocation {
    type Error = Error;

    fn try_from(result: v1::RevokeLeaseResult) -> Result<Self, Error> {
        use v1::revoke_lease_result::Outcome;
        let outcome = match result.outcome {
            Some(Outcome::Lease(lease)) => Ok(Lease::try_from(*lease)?),
            Some(Outcome::Failure(failure)) => Err(RevocationFailure {
                reason: failure.reason().as_reason(),
                message: failure.message.clone(),
            }),
            None => return Err(missing("outcome")),
        };
        Ok(Self { lease_id: result.lease_id, outcome })
    }
}
