//! `OperatorService`: what people do, each call by policy.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use leasehold_engine::{Engine, EngineError, request::RevokeLease};
use leasehold_proto::v1::{self, operator_service_server::OperatorService};
use tonic::{Request, Response, Status};

use super::{
    audit_leave::Leave,
    audit_stream::Journal,
    broker_status::{self, Facts},
    caller, convert,
    seats::Seats,
    status::{message_of, of_engine, reason_of},
};

/// How many leases of one call are revoked at once: enough to share a write to the journal.
const REVOKED_AT_ONCE: usize = 16;

pub(super) struct Operators {
    pub(super) engine: Arc<Engine>,
    pub(super) facts: Arc<dyn Facts>,
    pub(super) journal: Journal,
    pub(super) audits: Seats,
}

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn list_leases(
        &self,
        request: Request<v1::OperatorServiceListLeasesRequest>,
    ) -> Result<Response<v1::OperatorServiceListLeasesResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let asked = convert::list_leases(actor, message)?;
        let page = self.engine.list_leases(asked).await.map_err(|error| of_engine(&error))?;
        let leases = page.items.iter().map(convert::lease).collect();
        let next_page_token = convert::page_token(page.next_page_token);
        Ok(Response::new(v1::OperatorServiceListLeasesResponse { leases, next_page_token }))
    }

    async fn revoke_leases(
        &self,
        request: Request<v1::RevokeLeasesRequest>,
    ) -> Result<Response<v1::RevokeLeasesResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let requests = convert::revoke_leases(&actor, message)?;
        let results = stream::iter(requests).map(|request| self.revoke(request)).buffered(REVOKED_AT_ONCE);
        Ok(Response::new(v1::RevokeLeasesResponse { results: results.collect().await }))
    }

    async fn start_revocation(
        &self,
        request: Request<v1::StartRevocationRequest>,
    ) -> Result<Response<v1::StartRevocationResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::start_revocation(actor, message)?;
        let started = self.engine.start_revocation(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::StartRevocationResponse { revocation: Some(convert::revocation(&started)) }))
    }

    type WatchRevocationStream = BoxStream<'static, Result<v1::WatchRevocationResponse, Status>>;

    async fn watch_revocation(
        &self,
        request: Request<v1::WatchRevocationRequest>,
    ) -> Result<Response<Self::WatchRevocationStream>, Status> {
        let (actor, message) = caller::split(request)?;
        let id = convert::watch_revocation(&message)?;
        let seat = self.audits.take(&actor.id)?;
        let progress = self.engine.watch_revocation(actor, id).await.map_err(|error| of_engine(&error))?;
        let responses = progress.map(move |revocation| {
            let _taken = &seat;
            let revocation = revocation.map_err(|error| of_engine(&error))?;
            Ok(v1::WatchRevocationResponse { revocation: Some(convert::revocation(&revocation)) })
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn list_revocations(
        &self,
        request: Request<v1::ListRevocationsRequest>,
    ) -> Result<Response<v1::ListRevocationsResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let (size, token) = convert::list_revocations(&message)?;
        let page = self.engine.list_revocations(actor, size, token).await;
        let page = page.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ListRevocationsResponse {
            revocations: page.items.iter().map(convert::revocation).collect(),
            next_page_token: convert::page_token(page.next_page_token),
        }))
    }

    async fn retry_lease(
        &self,
        request: Request<v1::RetryLeaseRequest>,
    ) -> Result<Response<v1::RetryLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::retry_lease(actor, &message)?;
        let lease = self.engine.retry_lease(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::RetryLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn forget_lease(
        &self,
        request: Request<v1::ForgetLeaseRequest>,
    ) -> Result<Response<v1::ForgetLeaseResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::forget_lease(actor, message)?;
        let lease = self.engine.forget_lease(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ForgetLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn sweep_orphans(
        &self,
        request: Request<v1::SweepOrphansRequest>,
    ) -> Result<Response<v1::SweepOrphansResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::sweep_orphans(actor, &message)?;
        let swept = self.engine.sweep_orphans(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(convert::orphan_sweep(swept)))
    }

    async fn get_hold(
        &self,
        request: Request<v1::GetHoldRequest>,
    ) -> Result<Response<v1::GetHoldResponse>, Status> {
        let (actor, _) = caller::split(request)?;
        let report = self.engine.hold_report(actor).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::GetHoldResponse { hold: report.map(convert::hold) }))
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::release_hold(actor, message)?;
        self.engine.release_hold(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ReleaseHoldResponse {}))
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let (prefix, size, token) = convert::list_secrets(&message)?;
        let page = self.engine.list_secrets(actor, prefix, size, token).await;
        let page = page.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ListSecretsResponse {
            secrets: page.items.into_iter().map(convert::secret).collect(),
            next_page_token: convert::page_token(page.next_page_token),
        }))
    }

    async fn get_secret(
        &self,
        request: Request<v1::GetSecretRequest>,
    ) -> Result<Response<v1::GetSecretResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let path = convert::get_secret(&message)?;
        let secret = self.engine.describe_secret(actor, path).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::GetSecretResponse { secret: Some(convert::secret(secret)) }))
    }

    async fn write_secret(
        &self,
        request: Request<v1::WriteSecretRequest>,
    ) -> Result<Response<v1::WriteSecretResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::write_secret(actor, message)?;
        let version = self.engine.write_secret(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::WriteSecretResponse { version: version.as_str().to_owned() }))
    }

    async fn list_secret_versions(
        &self,
        request: Request<v1::ListSecretVersionsRequest>,
    ) -> Result<Response<v1::ListSecretVersionsResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::list_versions(actor, &message)?;
        let page = self.engine.list_versions(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ListSecretVersionsResponse {
            versions: page.items.into_iter().map(convert::secret_version).collect(),
            next_page_token: convert::page_token(page.next_page_token),
        }))
    }

    async fn change_secret(
        &self,
        request: Request<v1::ChangeSecretRequest>,
    ) -> Result<Response<v1::ChangeSecretResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::change_secret(actor, message)?;
        self.engine.change_secret(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ChangeSecretResponse {}))
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Result<Response<v1::RotateSecretResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::rotate_secret(actor, message)?;
        let answer = self.engine.rotate_secret(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(convert::rotate_answer(&answer)))
    }

    async fn list_rotations(
        &self,
        request: Request<v1::ListRotationsRequest>,
    ) -> Result<Response<v1::ListRotationsResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::list_rotations(actor, message)?;
        let page = self.engine.list_rotations(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ListRotationsResponse {
            rotations: page.items.iter().map(convert::rotation).collect(),
            next_page_token: convert::page_token(page.next_page_token),
        }))
    }

    async fn get_rotation(
        &self,
        request: Request<v1::GetRotationRequest>,
    ) -> Result<Response<v1::GetRotationResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let path = convert::get_rotation(&message)?;
        let report = self.engine.read_rotation(actor, path).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::GetRotationResponse { rotation: Some(convert::rotation(&report)) }))
    }

    async fn pause_rotation(
        &self,
        request: Request<v1::PauseRotationRequest>,
    ) -> Result<Response<v1::PauseRotationResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::pause_rotation(actor, message)?;
        let report = self.engine.pause_rotation(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::PauseRotationResponse { rotation: Some(convert::rotation(&report)) }))
    }

    async fn resume_rotation(
        &self,
        request: Request<v1::ResumeRotationRequest>,
    ) -> Result<Response<v1::ResumeRotationResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::resume_rotation(actor, &message)?;
        let report = self.engine.resume_rotation(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::ResumeRotationResponse { rotation: Some(convert::rotation(&report)) }))
    }

    async fn roll_back_rotation(
        &self,
        request: Request<v1::RollBackRotationRequest>,
    ) -> Result<Response<v1::RollBackRotationResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let request = convert::roll_back_rotation(actor, message)?;
        let report = self.engine.roll_back_rotation(request).await.map_err(|error| of_engine(&error))?;
        Ok(Response::new(v1::RollBackRotationResponse { rotation: Some(convert::rotation(&report)) }))
    }

    type WatchRotationStream = BoxStream<'static, Result<v1::WatchRotationResponse, Status>>;

    async fn watch_rotation(
        &self,
        request: Request<v1::WatchRotationRequest>,
    ) -> Result<Response<Self::WatchRotationStream>, Status> {
        let (actor, message) = caller::split(request)?;
        let path = convert::watch_rotation(&message)?;
        let seat = self.audits.take(&actor.id)?;
        let reports = self.engine.watch_rotation(actor, path).await.map_err(|error| of_engine(&error))?;
        let responses = reports.map(move |report| {
            let _taken = &seat;
            let report = report.map_err(|error| of_engine(&error))?;
            Ok(v1::WatchRotationResponse { rotation: Some(convert::rotation(&report)) })
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn check_provider(
        &self,
        request: Request<v1::CheckProviderRequest>,
    ) -> Result<Response<v1::CheckProviderResponse>, Status> {
        let (actor, message) = caller::split(request)?;
        let provider = convert::check_provider(&message)?;
        let checks = self.engine.check_providers(actor, provider).await;
        let checks = checks.map_err(|error| of_engine(&error))?;
        let checks = checks.into_iter().map(convert::provider_check).collect();
        Ok(Response::new(v1::CheckProviderResponse { checks }))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let (actor, _) = caller::split(request)?;
        let engine = self.engine.status(actor).await.map_err(|error| of_engine(&error))?;
        let status = broker_status::render(&engine, self.facts.broker(), self.facts.ledger());
        Ok(Response::new(v1::GetStatusResponse { status: Some(status) }))
    }

    type QueryAuditStream = BoxStream<'static, Result<v1::QueryAuditResponse, Status>>;

    async fn query_audit(
        &self,
        request: Request<v1::QueryAuditRequest>,
    ) -> Result<Response<Self::QueryAuditStream>, Status> {
        let (actor, message) = caller::split(request)?;
        let query = convert::audit_query(message)?;
        let seat = self.audits.take(&actor.id)?;
        let asked = query.described();
        let leave = Leave::ask(self.engine.clone(), self.facts.clone(), actor, asked).await?;
        let records = self.journal.query(query);
        let records = stream::try_unfold((records, leave, seat), |(mut records, mut leave, seat)| async {
            let Some(record) = records.try_next().await? else { return Ok(None) };
            leave.check().await?;
            Ok(Some((v1::QueryAuditResponse { record: Some(record) }, (records, leave, seat))))
        });
        Ok(Response::new(records.boxed()))
    }
}

impl Operators {
    async fn revoke(&self, request: RevokeLease) -> v1::RevokeLeaseResult {
        use v1::revoke_lease_result::Outcome;
        let lease_id = request.lease.to_string();
        let outcome = match self.engine.revoke_lease(request).await {
            Ok(lease) => Outcome::Lease(Box::new(convert::lease(&lease))),
            Err(error) => Outcome::Failure(failure(&error)),
        };
        v1::RevokeLeaseResult { lease_id, outcome: Some(outcome) }
    }
}

fn failure(error: &EngineError) -> v1::RevokeLeaseFailure {
    v1::RevokeLeaseFailure { reason: reason_of(error).into(), message: message_of(error) }
}
