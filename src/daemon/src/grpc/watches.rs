//! The long streams of which there are ten thousand: what is told to all who watch one secret is rendered once.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use leasehold_core::record::Actor;
use leasehold_engine::request::SecretNotice;
use leasehold_proto::v1;
use tonic::Status;

use super::{convert, lease_service::Leases, status::of_engine, unary::framed};

/// The last notice that was rendered: when something happens to a secret, all its watchers ask for the same one.
#[derive(Default)]
pub(super) struct Rendered(Mutex<Option<(Arc<SecretNotice>, Bytes)>>);

/// The messages of a stream with their prefixes.
pub(super) type Frames = BoxStream<'static, Result<Bytes, Status>>;

impl Rendered {
    fn render(&self, notice: Arc<SecretNotice>, limit: usize) -> Result<Bytes, Status> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = &*last
            && Arc::ptr_eq(known, &notice)
        {
            return Ok(bytes.clone());
        }
        let bytes = framed(&convert::secret_notice(&notice), limit)?;
        *last = Some((notice, bytes.clone()));
        Ok(bytes)
    }
}

impl Leases {
    /// What happens to a secret.
    pub(super) async fn secret_notices(
        &self,
        actor: Actor,
        message: &v1::WatchSecretRequest,
    ) -> Result<BoxStream<'static, Result<Arc<SecretNotice>, Status>>, Status> {
        let request = convert::watch_secret(actor, message)?;
        let seat = self.watches.take(&request.actor.id)?;
        let notices = self.engine.watch_secret(request).await.map_err(|error| of_engine(&error))?;
        let notices = notices.map(move |notice| {
            let _taken = &seat;
            notice.map_err(|error| of_engine(&error))
        });
        Ok(notices.boxed())
    }

    /// The same, rendered.
    pub(super) async fn secret_frames(
        self: Arc<Self>,
        actor: Actor,
        message: v1::WatchSecretRequest,
        limit: usize,
    ) -> Result<Frames, Status> {
        let notices = self.secret_notices(actor, &message).await?;
        Ok(notices.map(move |notice| self.rendered.render(notice?, limit)).boxed())
    }

    /// What happens to the caller's leases.
    pub(super) async fn lease_notices(
        &self,
        actor: Actor,
        message: &v1::WatchLeasesRequest,
    ) -> Result<BoxStream<'static, Result<v1::WatchLeasesResponse, Status>>, Status> {
        let after = convert::watch_leases(message)?;
        let seat = self.watches.take(&actor.id)?;
        let notices = self.engine.watch_leases(actor, after).await.map_err(|error| of_engine(&error))?;
        let responses = notices.map(move |notice| {
            let _taken = &seat;
            notice.map(|notice| convert::notice(&notice)).map_err(|error| of_engine(&error))
        });
        Ok(responses.boxed())
    }

    /// The same, rendered.
    pub(super) async fn lease_frames(
        self: Arc<Self>,
        actor: Actor,
        message: v1::WatchLeasesRequest,
        limit: usize,
    ) -> Result<Frames, Status> {
        let notices = self.lease_notices(actor, &message).await?;
        Ok(notices.map(move |notice| framed(&notice?, limit)).boxed())
    }
}
