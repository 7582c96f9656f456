//! The calls of `leasehold.v1`: those of workloads here, those of operators in [`Operator`].

use std::time::Duration;

use leasehold_core::{LeaseId, RequestId, SecretPath, secret::FieldName};
use leasehold_proto::v1::{self, lease_service_client::LeaseServiceClient};
use tonic::{Streaming, transport::Channel};

use crate::{
    Borrow, Builder, Error, Lease, LeaseState, Notice, Operator, Page,
    lease::{IssuedLease, RenewedLease, missing, notice},
};

/// A connection to a broker. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

/// What a lease is wanted for.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The secret.
    pub secret: SecretPath,
    /// How long; the secret's default when absent, clipped to its maximum.
    pub ttl: Option<Duration>,
    /// The fields wanted; empty means all.
    pub fields: Vec<FieldName>,
    /// The same request with the same id within ten minutes gets the same lease.
    pub request_id: Option<RequestId>,
}

/// The caller's leases and what happens to them, until the watch ends. See [`Client::watch_leases`].
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<v1::WatchLeasesResponse>,
}

impl Client {
    /// How a client is made.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn over(channel: Channel) -> Self {
        Self { channel }
    }

    /// The calls of operators, over the same connection. Whether they are allowed is for the broker's policy to say.
    pub fn operator(&self) -> Operator {
        Operator::over(self.channel.clone())
    }

    /// The connection itself, for services that are not Leasehold's own, such as `grpc.health.v1`.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Borrows a secret and keeps it: awaited, this gives a guard that renews the lease in the background and moves to the
    /// new version when the secret is rotated.
    pub fn lease(&self, secret: impl AsRef<str>) -> Borrow {
        Borrow::new(self.clone(), secret.as_ref())
    }

    /// Takes a lease on a secret and gets its value.
    ///
    /// # Errors
    /// [`Error::Denied`] when it is not allowed or there is no such secret; see [`Error`].
    pub async fn issue_lease(&self, issue: Issue) -> Result<IssuedLease, Error> {
        let request = v1::IssueLeaseRequest {
            secret: issue.secret.to_string(),
            ttl: issue.ttl.map(duration).transpose()?,
            fields: issue.fields.iter().map(|name| name.as_str().to_owned()).collect(),
            request_id: text(issue.request_id.as_ref()),
        };
        self.leases().issue_lease(request).await?.into_inner().try_into()
    }

    /// Moves the end of one's own lease, to `ttl` from now or by the secret's default; never past its maximum.
    ///
    /// # Errors
    /// [`Error::Refused`] when the lease has ended; see [`Error`].
    pub async fn renew_lease(&self, lease: LeaseId, ttl: Option<Duration>) -> Result<Lease, Error> {
        Ok(self.renew(lease, ttl, false).await?.lease)
    }

    /// The same, and moves a static lease to the secret's current version if it is on an older one: the caller uses the new
    /// value from then on. Who loses the answer takes a new lease: the value is not given a second time.
    ///
    /// # Errors
    /// [`Error::Refused`] when the lease has ended, [`Error::Denied`] also when the caller may not have the secret any more;
    /// see [`Error`].
    pub async fn move_lease(&self, lease: LeaseId, ttl: Option<Duration>) -> Result<RenewedLease, Error> {
        self.renew(lease, ttl, true).await
    }

    async fn renew(
        &self,
        lease: LeaseId,
        ttl: Option<Duration>,
        accept_rotation: bool,
    ) -> Result<RenewedLease, Error> {
        let request = v1::RenewLeaseRequest {
            lease_id: lease.to_string(),
            ttl: ttl.map(duration).transpose()?,
            request_id: String::new(),
            accept_rotation,
        };
        self.leases().renew_lease(request).await?.into_inner().try_into()
    }

    /// Ends a lease before its time. One that has ended already is a success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_lease(&self, lease: LeaseId, reason: Option<String>) -> Result<Lease, Error> {
        let request = v1::RevokeLeaseRequest {
            lease_id: lease.to_string(),
            reason: reason.unwrap_or_default(),
            request_id: String::new(),
        };
        found(self.leases().revoke_lease(request).await?.into_inner().lease)
    }

    /// Looks at a lease; the value is not given again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_lease(&self, lease: LeaseId) -> Result<Lease, Error> {
        let request = v1::GetLeaseRequest { lease_id: lease.to_string() };
        found(self.leases().get_lease(request).await?.into_inner().lease)
    }

    /// A page of the caller's own leases in any of these states (none given: in any), at most `page_size` of them (0:
    /// the broker's default).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_leases(
        &self,
        states: &[LeaseState],
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<Lease>, Error> {
        let request = v1::ListLeasesRequest {
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
            filter: Some(v1::LeaseFilter { states: state_numbers(states), ..v1::LeaseFilter::default() }),
        };
        let response = self.leases().list_leases(request).await?.into_inner();
        page(response.leases, response.next_page_token)
    }

    /// Watches the caller's own leases: first each as it is, then each change; or only what has changed since
    /// `resume_token`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch_leases(&self, resume_token: Option<String>) -> Result<Watch, Error> {
        let request = v1::WatchLeasesRequest { resume_token: resume_token.unwrap_or_default() };
        Ok(Watch { stream: self.leases().watch_leases(request).await?.into_inner() })
    }

    pub(crate) fn leases(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel.clone())
    }
}

impl Watch {
    /// What happens next; `None` when the broker has ended the watch.
    ///
    /// # Errors
    /// When the connection or the watch is lost: watch again from the last [`Notice::resume_token`].
    pub async fn next(&mut self) -> Result<Option<Notice>, Error> {
        while let Some(response) = self.stream.message().await? {
            if let Some(notice) = notice(response)? {
                return Ok(Some(notice));
            }
        }
        Ok(None)
    }
}

pub(crate) fn found(lease: Option<v1::Lease>) -> Result<Lease, Error> {
    lease.ok_or_else(|| missing("lease"))?.try_into()
}

pub(crate) fn page(leases: Vec<v1::Lease>, next: String) -> Result<Page<Lease>, Error> {
    let items = leases.into_iter().map(Lease::try_from).collect::<Result<_, _>>()?;
    Ok(Page { items, next_page_token: Some(next).filter(|token| !token.is_empty()) })
}

pub(crate) fn state_numbers(states: &[LeaseState]) -> Vec<i32> {
    states.iter().filter_map(|state| state.to_proto()).map(i32::from).collect()
}

pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn duration(duration: Duration) -> Result<prost_types::Duration, Error> {
    duration.try_into().map_err(|_| Error::Answer("the duration is too long for the protocol".to_owned()))
}
