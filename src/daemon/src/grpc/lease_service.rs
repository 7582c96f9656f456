//! `LeaseService`: what workloads do.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::record::Actor;
use leasehold_engine::Engine;
use leasehold_proto::v1::{self, lease_service_server::LeaseService};
use tonic::{Request, Response, Status};

use super::{caller, convert, seats::Seats, status::of_engine, watches::Rendered};

pub(super) struct Leases {
    pub(super) engine: Arc<Engine>,
    pub(super) watches: Seats,
    pub(super) rendered: Rendered,
}

impl Leases {
    pub(super) async fn issue(
        &self,
        actor: Actor,
        message: v1::IssueLeaseRequest,
    ) -> Result<v1::IssueLeaseResponse, Status> {
        let request = convert::issue_lease(actor, message)?;
        let issued = self.engine.issue_lease(request).await.map_err(|error| of_engine(&error))?;
        Ok(v1::IssueLeaseResponse {
            lease: Some(convert::lease(&issued.lease)),
            value: Some(convert::secret_value(issued.value)),
        })
    }
}

#[tonic::async_trait]
impl LeaseService for Leases {
    // The routes do without this, and with `issue` alone; and so they do for both watches.
    async fn issue_lease(
        &self,
        request: Request<v1::IssueLeaseRequest>,
    ) -> Result<Response<v1::IssueLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        self.issue(actor, message).await.map(Response::new)
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::renew_lease(actor, message)?;
        let renewed = self.engine.renew_lease(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::RenewLeaseResponse {
            lease: Some(convert::lease(&renewed.lease)),
            value: renewed.value.map(convert::secret_value),
        }))
    }

    async fn revoke_lease(
        &self,
        request: Request<v1::RevokeLeaseRequest>,
    ) -> Result<Response<v1::RevokeLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::revoke_lease(actor, message)?;
        let lease = self.engine.revoke_lease(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::RevokeLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn get_lease(
        &self,
        request: Request<v1::GetLeaseRequest>,
    ) -> Result<Response<v1::GetLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let id = convert::get_lease(&message)?;
        let lease = self.engine.get_lease(actor, id).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::GetLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let asked = convert::list_own_leases(actor, message)?;
        let page = self.engine.list_leases(asked).await.map_err(|error| of_engine(&error))?;
        let leases = page.items.iter().map(convert::lease).collect();
        let next_page_token = convert::page_token(page.next_page_token);
        Ok(Response::new(v1::ListLeasesResponse { leases, next_page_token }))
    }

    type WatchLeasesStream = BoxStream<'static, Result<v1::WatchLeasesResponse, Status>>;

    type WatchSecretStream = BoxStream<'static, Result<v1::WatchSecretResponse, Status>>;

    async fn watch_secret(
        &self,
        request: Request<v1::WatchSecretRequest>,
    ) -> Result<Response<Self::WatchSecretStream>, Status> {
        let (actor, message) = caller::split(request)?;
        let notices = self.secret_notices(actor, &message).await?;
        Ok(Response::new(notices.map(|notice| notice.map(|notice| convert::secret_notice(&notice))).boxed()))
    }

    // Nothing is buffered here: the client's flow control holds the stream back, and the engine says when it lags.
    async fn watch_leases(
        &self,
        request: Request<v1::WatchLeasesRequest>,
    ) -> Result<Response<Self::WatchLeasesStream>, Status> {
        let (actor, message) = caller::split(request)?;
        Ok(Response::new(self.lease_notices(actor, &message).await?))
    }
}
