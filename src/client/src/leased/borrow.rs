//! What is wanted of a lease, before it is taken.

use std::{future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

use leasehold_core::{SecretPath, secret::FieldName};
use tokio::sync::watch;

use super::{Holding, Leased, Standing, change::Told};
use crate::{Client, Error, Issue};

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
        let secret: SecretPath = self.secret.parse().map_err(|_| Error::Denied)?;
        let fields = self.fields.iter().map(|name| name.parse::<FieldName>());
        let fields = fields.collect::<Result<_, _>>().map_err(|_| Error::Denied)?;
        let issue = Issue { secret: secret.clone(), ttl: self.ttl, fields, request_id: None };
        let issued = self.client.issue_lease(issue).await?;
        let holding = Arc::new(Holding { lease: issued.lease, value: issued.value });
        let (sender, told) = watch::channel(Told { holding, standing: Standing::Kept });
        Ok(Leased { secret, told, client: self.client, _told: sender })
    }
}

impl IntoFuture for Borrow {
    type Output = Result<Leased, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.take())
    }
}
