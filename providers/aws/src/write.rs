//! New versions, and what becomes of secrets that exist.

use data_encoding::HEXLOWER;
use leasehold_core::{
    provider::{Change, ChangeSecret, ErrorClass, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};

use crate::{
    client::{Cloud, Secrets, Which},
    read::checked,
    reference::{CURRENT, SecretReference, is_version},
    value::{Body, encode},
};

/// The label of a version that waits for [`Change::Promote`]; AWS's own rotation uses it for the same.
pub(crate) const PENDING: &str = "AWSPENDING";

/// The label that AWS leaves on the version that was current before.
const PREVIOUS: &str = "AWSPREVIOUS";

/// The label of a version until a conditional write makes it current; it moves on with the next write.
const WAITING: &str = "leasehold-pending";

pub(crate) async fn write_secret(
    cloud: &Cloud,
    reference: SecretReference<'_>,
    request: &WriteVersion<'_>,
) -> Result<VersionId, ProviderError> {
    if reference.stage != CURRENT {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            format!("only `{CURRENT}` is written, and the `ref` names another stage"),
        ));
    }
    let secrets = cloud.secrets(reference.region)?;
    let body = encode(request.value)?;
    let token = version_token(request.token);
    let expected = request.expected.map(checked).transpose()?;
    let id = match (request.stage, expected) {
        (Stage::Current, None) => secrets.write(reference.secret, body, &token, None).await?,
        (Stage::Current, Some(expected)) => {
            write_if_current(&secrets, reference.secret, body, &token, expected).await?
        }
        (Stage::Pending, expected) => {
            if let Some(expected) = expected {
                // Looked at, not held: whoever promotes it later decides against what is current then.
                let current = current(&secrets, reference.secret).await?;
                if current != expected && current != token {
                    return Err(conflict(reference.secret, &current, expected));
                }
            }
            secrets.write(reference.secret, body, &token, Some(PENDING)).await?
        }
    };
    id.parse().map_err(|_| {
        ProviderError::new(ErrorClass::Permanent, "AWS answered a write without a good version id")
    })
}

pub(crate) async fn change_secret(
    cloud: &Cloud,
    reference: SecretReference<'_>,
    request: &ChangeSecret<'_>,
    recovery_days: u32,
) -> Result<(), ProviderError> {
    let secrets = cloud.secrets(reference.region)?;
    let secret = reference.secret;
    let described = match secrets.describe(secret).await {
        // It is gone, which is what was asked.
        Err(error) if error.class == ErrorClass::Absent && request.change == Change::Purge => {
            return Ok(());
        }
        described => described?,
    };
    let deleted = described.deleted_at.is_some();
    match request.change {
        Change::Promote if deleted => {
            Err(ProviderError::new(ErrorClass::Absent, format!("`{secret}` is deleted: restore it first")))
        }
        Change::Promote => {
            let version = request.version.ok_or_else(|| {
                ProviderError::new(ErrorClass::Invalid, "which version is to be promoted is not said")
            })?;
            promote(&secrets, secret, checked(version)?, request.expected.map(checked).transpose()?).await
        }
        Change::Delete if deleted => Ok(()),
        Change::Delete => gone(secrets.delete(secret, Some(recovery_days)).await),
        Change::Restore if !deleted => Ok(()),
        Change::Restore => secrets.restore(secret).await,
        Change::Purge if !deleted => Err(ProviderError::new(
            ErrorClass::Invalid,
            format!("`{secret}` is not deleted: delete it first, then it can be removed for good"),
        )),
        Change::Purge => gone(secrets.delete(secret, None).await),
        other => Err(ProviderError::unsupported(other.as_str())),
    }
}

/// Takes `AWSPENDING` from a version: AWS removes what has no label when it needs the room, and until then nobody comes by
/// it but by its id.
pub(crate) async fn discard_pending(
    cloud: &Cloud,
    reference: SecretReference<'_>,
    version: &VersionId,
) -> Result<(), ProviderError> {
    let (secrets, secret) = (cloud.secrets(reference.region)?, reference.secret);
    let version = checked(version)?;
    let versions = secrets.versions(secret).await?;
    let labels = versions.iter().find(|known| known.id == version).map(|known| &*known.labels);
    let has = |label: &str| labels.is_some_and(|labels| labels.iter().any(|has| has == label));
    if has(CURRENT) || has(PREVIOUS) {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            format!("version {version} of `{secret}` is or was current: only what waits is put away"),
        ));
    }
    if has(PENDING) { take_pending(&secrets, secret, version).await } else { Ok(()) }
}

/// What was there a moment ago is gone: by this call, whose answer was lost on the way, or by somebody else's.
fn gone(answer: Result<(), ProviderError>) -> Result<(), ProviderError> {
    match answer {
        Err(error) if error.class == ErrorClass::Absent => Ok(()),
        other => other,
    }
}

/// Moves `AWSCURRENT`, with which AWS moves `AWSPREVIOUS`, and takes `AWSPENDING` away: AWS's own rotation takes a
/// pending version that is not current for a rotation that goes on. AWS moves a label only from the version that is said
/// to have it, so that nobody's change is undone unseen.
async fn promote(
    secrets: &Secrets,
    secret: &str,
    version: &str,
    expected: Option<&str>,
) -> Result<(), ProviderError> {
    let versions = secrets.versions(secret).await?;
    let has = |id: &str, label: &str| {
        versions.iter().any(|known| known.id == id && known.labels.iter().any(|has| has == label))
    };
    if !versions.iter().any(|known| known.id == version) {
        return Err(ProviderError::new(ErrorClass::Absent, format!("`{secret}` has no version {version}")));
    }
    if !has(version, CURRENT) {
        let from = versions.iter().find(|known| has(&known.id, CURRENT)).map(|known| &*known.id);
        if let Some(expected) = expected.filter(|expected| from != Some(*expected)) {
            return Err(conflict(secret, from.unwrap_or("none"), expected));
        }
        match secrets.move_label(secret, CURRENT, from, Some(version)).await {
            // It was moved, and the answer lost on the way; or somebody else was faster.
            Err(error) if error.class == ErrorClass::Invalid => {
                let current = current(secrets, secret).await?;
                if current != version {
                    return Err(conflict(secret, &current, from.unwrap_or("none")));
                }
            }
            moved => moved?,
        }
    }
    if has(version, PENDING) {
        take_pending(secrets, secret, version).await?;
    }
    Ok(())
}

/// Takes `AWSPENDING` away. AWS refuses when it is not there: it was taken by this call, whose answer was lost on the
/// way, or by somebody else.
async fn take_pending(secrets: &Secrets, secret: &str, version: &str) -> Result<(), ProviderError> {
    match secrets.move_label(secret, PENDING, Some(version), None).await {
        Err(error) if error.class == ErrorClass::Invalid => {
            let versions = secrets.versions(secret).await?;
            let stays = versions
                .iter()
                .any(|known| known.id == version && known.labels.iter().any(|has| has == PENDING));
            if stays { Err(error) } else { Ok(()) }
        }
        taken => taken,
    }
}

/// Writes only if `expected` is current. AWS moves a label only from the version that has it, which is the condition.
async fn write_if_current(
    secrets: &Secrets,
    secret: &str,
    body: Body,
    token: &str,
    expected: &str,
) -> Result<String, ProviderError> {
    let written = secrets.write(secret, body, token, Some(WAITING)).await?;
    match secrets.move_label(secret, CURRENT, Some(expected), Some(&written)).await {
        // A repeated write finds its own version current.
        Err(error) if error.class == ErrorClass::Invalid => {
            let current = current(secrets, secret).await?;
            if current == written { Ok(written) } else { Err(conflict(secret, &current, expected)) }
        }
        moved => moved.map(|()| written),
    }
}

async fn current(secrets: &Secrets, secret: &str) -> Result<String, ProviderError> {
    let read = secrets.read(secret, Which::Stage(CURRENT)).await?;
    Ok(read.id.unwrap_or_else(|| "unknown".to_owned()))
}

fn conflict(secret: &str, current: &str, expected: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("`{secret}` is at version {current}, not at {expected}"))
}

/// AWS takes tokens of 32 to 64 characters and makes them the version's id; another one is hashed (SHA-256).
pub(crate) fn version_token(token: &str) -> String {
    if is_version(token) {
        return token.to_owned();
    }
    HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref())
}
