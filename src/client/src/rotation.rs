//! Rotations, as operators look after them.

use leasehold_core::{RequestId, SecretPath, path::PathPrefix};
use leasehold_proto::v1;
use tonic::Streaming;

use crate::{Error, Operator, Page, client::text, wire::missing};

/// What to rotate, and why.
#[derive(Clone, Debug)]
pub struct RotateSecret {
    /// The secret.
    pub secret: SecretPath,
    /// Only say what would be done, and whether it could be.
    pub dry_run: bool,
    /// A reason, for the audit records.
    pub reason: Option<String>,
    /// The client's own name for this request, for the audit records.
    pub request_id: Option<RequestId>,
}

/// Which rotations.
#[derive(Clone, Debug, Default)]
pub struct RotationFilter {
    /// Of the secrets under a prefix.
    pub prefix: Option<PathPrefix>,
    /// In any of these states; empty means in any.
    pub states: Vec<v1::RotationState>,
    /// Only those that have a failure, are late, or are paused.
    pub attention: bool,
}

/// How a rotation goes on. See [`Operator::watch_rotation`].
#[derive(Debug)]
pub struct RotationProgress {
    stream: Streaming<v1::WatchRotationResponse>,
}

impl Operator {
    /// Has a secret rotated now, or says what that would do; it goes on without its caller.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is being rotated already, or is not rotated at all; see [`Error`].
    pub async fn rotate_secret(&self, rotate: RotateSecret) -> Result<v1::RotateSecretResponse, Error> {
        let request = v1::RotateSecretRequest {
            path: rotate.secret.to_string(),
            dry_run: rotate.dry_run,
            reason: rotate.reason.unwrap_or_default(),
            request_id: text(rotate.request_id.as_ref()),
        };
        Ok(self.service().rotate_secret(request).await?.into_inner())
    }

    /// A page of the rotated secrets that policy lets the caller see, in the order of their paths.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_rotations(
        &self,
        filter: &RotationFilter,
        page_size: u32,
        page_token: Option<String>,
    ) -> Result<Page<v1::Rotation>, Error> {
        let filter = v1::RotationFilter {
            secret_prefix: text(filter.prefix.as_ref()),
            states: filter.states.iter().map(|&state| state.into()).collect(),
            attention: filter.attention,
        };
        let request = v1::ListRotationsRequest {
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default(),
            filter: Some(filter),
        };
        let response = self.service().list_rotations(request).await?.into_inner();
        let next_page_token = Some(response.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { items: response.rotations, next_page_token })
    }

    /// A secret's rotation, with who holds the version that it replaces.
    ///
    /// # Errors
    /// [`Error::Refused`] when the secret is not rotated; see [`Error`].
    pub async fn rotation(&self, secret: &SecretPath) -> Result<v1::Rotation, Error> {
        let request = v1::GetRotationRequest { path: secret.to_string() };
        shown(self.service().get_rotation(request).await?.into_inner().rotation)
    }

    /// Watches a secret's rotation: as it is now, then after every step. It ends only with the connection.
    ///
    /// # Errors
    /// [`Error::Refused`] when the secret is not rotated; see [`Error`].
    pub async fn watch_rotation(&self, secret: &SecretPath) -> Result<RotationProgress, Error> {
        let request = v1::WatchRotationRequest { path: secret.to_string() };
        Ok(RotationProgress { stream: self.service().watch_rotation(request).await?.into_inner() })
    }

    /// Has nothing done about a secret's rotation until it is resumed. To pause what is paused is a success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pause_rotation(
        &self,
        secret: &SecretPath,
        reason: Option<String>,
    ) -> Result<v1::Rotation, Error> {
        let request = v1::PauseRotationRequest {
            path: secret.to_string(),
            reason: reason.unwrap_or_default(),
            request_id: String::new(),
        };
        shown(self.service().pause_rotation(request).await?.into_inner().rotation)
    }

    /// Has it go on. To resume what is not paused is a success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resume_rotation(&self, secret: &SecretPath) -> Result<v1::Rotation, Error> {
        let request = v1::ResumeRotationRequest { path: secret.to_string(), request_id: String::new() };
        shown(self.service().resume_rotation(request).await?.into_inner().rotation)
    }

    /// Makes the old version current again while it is draining, or gives a rotation up whose new version is not current
    /// yet.
    ///
    /// # Errors
    /// [`Error::Refused`] when none is under way, or it is too late; see [`Error`].
    pub async fn roll_back_rotation(
        &self,
        secret: &SecretPath,
        reason: String,
    ) -> Result<v1::Rotation, Error> {
        let request =
            v1::RollBackRotationRequest { path: secret.to_string(), reason, request_id: String::new() };
        shown(self.service().roll_back_rotation(request).await?.into_inner().rotation)
    }
}

impl RotationProgress {
    /// The rotation as it is after its next step; `None` when the broker ended the watch.
    ///
    /// # Errors
    /// When the connection is lost: the rotation goes on without it, and can be watched again.
    pub async fn next(&mut self) -> Result<Option<v1::Rotation>, Error> {
        match self.stream.message().await? {
            Some(response) => shown(response.rotation).map(Some),
            None => Ok(None),
        }
    }
}

fn shown(rotation: Option<v1::Rotation>) -> Result<v1::Rotation, Error> {
    rotation.ok_or_else(|| missing("rotation"))
}
