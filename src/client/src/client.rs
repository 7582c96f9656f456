//! The calls of `leasehold.v1`: those of workloads here, those of operators in [`Operator`].

use std::{sync::Arc, time::Duration};

use leasehold_core::{LeaseId, RequestId, SecretPath, SpiffeId, Timestamp, secret::FieldName};
use leasehold_proto::v1::{self, lease_service_client::LeaseServiceClient};
use tonic::{Streaming, transport::Channel};

use crate::{
    Borrow, Builder, Error, Lease, LeaseState, Notice, Operator, Page,
    lease::{IssuedLease, RenewedLease},
    leased::Hub,
    random::Random,
    retry::{Calls, Repeat},
    transport::Transport,
    wire::{missing, notice},
};

/// A connection to a broker. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    calls: Arc<Calls>,
    hub: Arc<Hub>,
}

/// Who a client is to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityFacts {
    /// Its SPIFFE ID.
    pub id: Option<SpiffeId>,
    /// The end of its certificate.
    pub not_after: Option<Timestamp>,
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

    /// How it is made from what the environment says; see [`Builder::from_env`].
    ///
    /// # Errors
    /// When the environment makes no sense, and when there is no connection to be had.
    pub async fn from_env() -> Result<Self, Error> {
        Builder::from_env()?.connect().await
    }

    pub(crate) fn over(transport: Transport, limit: Duration, retries: bool) -> Self {
        let calls = Calls { transport, random: Random::new(), limit, retries };
        Self { calls: Arc::new(calls), hub: Arc::default() }
    }

    /// Who the client is to the broker; `None` while it has no identity.
    pub fn identity(&self) -> Option<IdentityFacts> {
        let summary = self.calls.transport.identity()?;
        Some(IdentityFacts { id: summary.id, not_after: summary.not_after })
    }

    /// Why the newest identity or trust bundle is not in use, while it is not: its files cannot be used, or the broker does
    /// not take it. The one before it is used as long as it works.
    pub fn identity_fault(&self) -> Option<Arc<Error>> {
        self.calls.transport.fault()
    }

    /// The calls of operators, over the same connection. Whether they are allowed is for the broker's policy to say.
    pub fn operator(&self) -> Operator {
        Operator::over(self.calls.transport.clone())
    }

    /// The connection of now itself, for services that are not Leasehold's own, such as `grpc.health.v1`. It is not replaced
    /// when the identity changes: ask for it again.
    pub fn channel(&self) -> Channel {
        self.calls.transport.channel()
    }

    /// Borrows a secret and keeps it: awaited, this gives a guard that renews the lease in the background and moves to the
    /// new version when the secret is rotated.
    pub fn lease(&self, secret: impl AsRef<str>) -> Borrow {
        Borrow::new(self.clone(), secret.as_ref())
    }

    /// Takes a lease on a secret and gets its value. Without a request id it gets one, so that every try is the same request.
    ///
    /// # Errors
    /// [`Error::Denied`] when it is not allowed or there is no such secret; see [`Error`].
    pub async fn issue_lease(&self, mut issue: Issue) -> Result<IssuedLease, Error> {
        // One that is made but once needs no name.
        if issue.request_id.is_none() && self.calls.retries {
            issue.request_id = self.calls.random.request_id();
        }
        let repeat = if issue.request_id.is_some() { Repeat::Always } else { Repeat::IfNotDone };
        let request = issue.to_proto()?;
        self.calls.make(repeat, || self.issue_once(request.clone())).await
    }

    pub(crate) async fn issue_once(&self, request: v1::IssueLeaseRequest) -> Result<IssuedLease, Error> {
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
        // A value is not given a second time.
        let repeat = if accept_rotation { Repeat::IfNotDone } else { Repeat::Always };
        let request = v1::RenewLeaseRequest {
            lease_id: lease.to_string(),
            ttl: ttl.map(duration).transpose()?,
            request_id: text(self.calls.random.request_id().as_ref()),
            accept_rotation,
        };
        self.calls.make(repeat, || self.renew_once(request.clone())).await
    }

    pub(crate) async fn renew_once(&self, request: v1::RenewLeaseRequest) -> Result<RenewedLease, Error> {
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
            request_id: text(self.calls.random.request_id().as_ref()),
        };
        self.calls.make(Repeat::Always, || self.revoke_once(request.clone())).await
    }

    pub(crate) async fn revoke_once(&self, request: v1::RevokeLeaseRequest) -> Result<Lease, Error> {
        found(self.leases().revoke_lease(request).await?.into_inner().lease)
    }

    /// Looks at a lease; the value is not given again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_lease(&self, lease: LeaseId) -> Result<Lease, Error> {
        let request = v1::GetLeaseRequest { lease_id: lease.to_string() };
        let once = || async { found(self.leases().get_lease(request.clone()).await?.into_inner().lease) };
        self.calls.make(Repeat::Always, once).await
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
        let once = || async {
            let response = self.leases().list_leases(request.clone()).await?.into_inner();
            page(response.leases, response.next_page_token)
        };
        self.calls.make(Repeat::Always, once).await
    }

    /// Watches the caller's own leases: first each as it is, then each change; or only what has changed since
    /// `resume_token`. It ends with its connection, at the latest when the identity with which that was made ends.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch_leases(&self, resume_token: Option<String>) -> Result<Watch, Error> {
        self.calls.make(Repeat::Always, || self.watch_leases_once(resume_token.clone())).await
    }

    pub(crate) async fn watch_leases_once(&self, resume_token: Option<String>) -> Result<Watch, Error> {
        let request = v1::WatchLeasesRequest { resume_token: resume_token.unwrap_or_default() };
        Ok(Watch { stream: self.leases().watch_leases(request).await?.into_inner() })
    }

    pub(crate) fn leases(&self) -> LeaseServiceClient<Transport> {
        LeaseServiceClient::new(self.calls.transport.clone())
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Issue {
    pub(crate) fn to_proto(&self) -> Result<v1::IssueLeaseRequest, Error> {
        Ok(v1::IssueLeaseRequest {
            secret: self.secret.to_string(),
            ttl: self.ttl.map(duration).transpose()?,
            fields: self.fields.iter().map(|name| name.as_str().to_owned()).collect(),
            request_id: text(self.request_id.as_ref()),
        })
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

pub(crate) fn duration(duration: Duration) -> Result<prost_types::Duration, Error> {
    duration.try_into().map_err(|_| Error::Answer("the duration is too long for the protocol".to_owned()))
}
