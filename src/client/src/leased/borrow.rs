//! What is wanted of a lease, before it is taken.

use std::{fmt::Display, future::IntoFuture, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use leasehold_core::{LeaseId, RequestId, SecretPath, secret::FieldName};
use leasehold_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    Holding, Leased, Standing,
    change::Told,
    hub::Expecting,
    keeper::{Broker, Keeper},
    span::Span,
};
use crate::{
    Answer, Client, Error, Issue, IssuedLease, Lease, Violation,
    client::{duration, text},
};

/// A lease to be taken and kept; awaited, it is a [`Leased`]. See [`Client::lease`].
#[derive(Debug)]
#[must_use = "a lease is taken when this is awaited"]
pub struct Borrow {
    client: Client,
    secret: Box<str>,
    ttl: Option<Duration>,
    fields: Vec<Box<str>>,
    revoke_on_drop: bool,
}

impl Borrow {
    pub(crate) fn new(client: Client, secret: &str) -> Self {
        Self { client, secret: secret.into(), ttl: None, fields: Vec::new(), revoke_on_drop: false }
    }

    /// How long each lease is asked for; the secret's default when not said.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The fields wanted; all of them when not said.
    pub fn fields<I: IntoIterator<Item: AsRef<str>>>(mut self, fields: I) -> Self {
        self.fields = fields.into_iter().map(|name| name.as_ref().into()).collect();
        self
    }

    /// Whether a guard that is dropped gives its leases back, as far as the broker can be reached in a few seconds; not so
    /// when not said. [`Leased::close`] does it for certain.
    pub fn revoke_on_drop(mut self, revoke: bool) -> Self {
        self.revoke_on_drop = revoke;
        self
    }

    async fn take(self) -> Result<Leased, Error> {
        let secret: SecretPath = parsed("secret", &self.secret)?;
        let fields = self.fields.iter().map(|name| parsed::<FieldName>("fields", name));
        let issue = Issue {
            fields: fields.collect::<Result<_, _>>()?,
            secret: secret.clone(),
            ttl: self.ttl,
            request_id: None,
        };
        let broker = Guarded { issue: Arc::new(issue), client: self.client };
        let expecting = broker.expect();
        let asked = Instant::now();
        let issued = broker.client.issue_lease(Issue::clone(&broker.issue)).await?;
        let listening = expecting.listen(issued.lease.id);
        let ends = Span::new(&issued.lease, asked).ends;
        let holding = Arc::new(Holding { lease: issued.lease, value: Arc::new(issued.value), ends });
        let (sender, told) = watch::channel(Told { holding, standing: Standing::Kept });
        let (orders, received) = mpsc::unbounded_channel();
        let keeper = Keeper::new(broker, sender, received, self.revoke_on_drop, listening, asked);
        tokio::spawn(keeper.run());
        Ok(Leased { secret, told, orders })
    }
}

/// The broker, for one secret.
#[derive(Clone, Debug)]
struct Guarded {
    client: Client,
    issue: Arc<Issue>,
}

impl Broker for Guarded {
    fn issue(
        &self,
        request: Option<RequestId>,
    ) -> impl Future<Output = Result<IssuedLease, Error>> + Send + 'static {
        let (client, issue) =
            (self.client.clone(), Issue { request_id: request, ..Issue::clone(&self.issue) });
        async move { client.issue_once(issue.to_proto()?).await }
    }

    fn renew(&self, lease: LeaseId) -> impl Future<Output = Result<Lease, Error>> + Send + 'static {
        let (client, ttl) = (self.client.clone(), self.issue.ttl);
        async move {
            let request = v1::RenewLeaseRequest {
                lease_id: lease.to_string(),
                ttl: ttl.map(duration).transpose()?,
                request_id: text(client.calls().random.request_id().as_ref()),
                accept_rotation: false,
            };
            Ok(client.renew_once(request).await?.lease)
        }
    }

    fn revoke(&self, lease: LeaseId) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let client = self.client.clone();
        async move {
            let request = v1::RevokeLeaseRequest { lease_id: lease.to_string(), ..Default::default() };
            client.revoke_once(request).await.map(drop)
        }
    }

    fn expect(&self) -> Expecting {
        self.client.expect_lease()
    }

    fn request_id(&self) -> Option<RequestId> {
        self.client.calls().random.request_id()
    }

    fn chance(&self) -> f64 {
        self.client.calls().random.chance()
    }
}

/// What was written, as what it should be.
fn parsed<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|why: T::Err| Error::Invalid {
        answer: Answer::default(),
        violations: vec![Violation { field: field.to_owned(), description: why.to_string() }],
    })
}

impl IntoFuture for Borrow {
    type Output = Result<Leased, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.take())
    }
}
