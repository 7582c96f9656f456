//! The revocation of many leases, and what is done with those that could not be ended.

use leasehold_core::{LeaseId, RequestId, RevocationId};
use leasehold_proto::v1;
use tonic::Streaming;

use crate::{
    Error, Lease, LeaseFilter, Operator, Page,
    client::{found, text},
    wire::missing,
};

/// Which leases to end, and why.
#[derive(Clone, Debug)]
pub struct StartRevocation {
    /// Which: at least a holder, a secret, a prefix or a provider, and no states.
    pub filter: LeaseFilter,
    /// Only say what would be done.
    pub dry_run: bool,
    /// A reason, for the audit records.
    pub reason: String,
    /// Makes a repeated request the same revocation, for a day.
    pub request_id: Option<RequestId>,
    /// Whether the secrets of the static leases among them are rotated, each once.
    pub rotate: bool,
}

/// How far a revocation has come, until its end. See [`Operator::watch_revocation`].
#[derive(Debug)]
pub struct RevocationProgress {
    stream: Streaming<v1::WatchRevocationResponse>,
}

impl Operator {
    /// Begins to end every lease that a filter matches and that was issued until now; it goes on without its caller. A
    /// dry run comes back with how many they are.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start_revocation(&self, start: StartRevocation) -> Result<v1::Revocation, Error> {
        let request = v1::StartRevocationRequest {
            filter: Some(start.filter.to_proto()),
            dry_run: start.dry_run,
            reason: start.reason,
            request_id: text(start.request_id.as_ref()),
            rotate: start.rotate,
        };
        let response = self.service().start_revocation(request).await?.into_inner();
        response.revocation.ok_or_else(|| missing("revocation"))
    }

    /// Watches a revocation: as it is now, then as it changes, at most five times a second.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch_revocation(&self, id: RevocationId) -> Result<RevocationProgress, Error> {
        let request = v1::WatchRevocationRequest { revocation_id: id.to_string() };
        Ok(RevocationProgress { stream: self.service().watch_revocation(request).await?.into_inner() })
    }

    /// A page of the revocations of the last day, the newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revocations(
        &self,
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<v1::Revocation>, Error> {
        let request = v1::ListRevocationsRequest {
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
        };
        let response = self.service().list_revocations(request).await?.into_inner();
        let next_page_token = Some(response.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { items: response.revocations, next_page_token })
    }

    /// Tries at once to end the credential of a lease that is being revoked or is quarantined. Does not wait for its back
    /// end.
    ///
    /// # Errors
    /// [`Error::Refused`] when the lease is not on its way out; see [`Error`].
    pub async fn retry_lease(&self, lease: LeaseId) -> Result<Lease, Error> {
        let request = v1::RetryLeaseRequest { lease_id: lease.to_string(), request_id: String::new() };
        found(self.service().retry_lease(request).await?.into_inner().lease)
    }

    /// Gives up a lease that is being revoked or is quarantined: nobody tries to end its credential any more.
    ///
    /// # Errors
    /// [`Error::Refused`] when the lease is not on its way out; see [`Error`].
    pub async fn forget_lease(&self, lease: LeaseId, reason: String) -> Result<Lease, Error> {
        let request =
            v1::ForgetLeaseRequest { lease_id: lease.to_string(), reason, request_id: String::new() };
        found(self.service().forget_lease(request).await?.into_inner().lease)
    }
}

impl RevocationProgress {
    /// How far it has come since the last time; `None` after its end.
    ///
    /// # Errors
    /// When the connection is lost: the revocation goes on without it, and can be watched again.
    pub async fn next(&mut self) -> Result<Option<v1::Revocation>, Error> {
        match self.stream.message().await? {
            Some(response) => Ok(Some(response.revocation.ok_or_else(|| missing("revocation"))?)),
            None => Ok(None),
        }
    }
}
