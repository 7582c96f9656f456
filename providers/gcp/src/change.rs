//! Disabling, enabling and destroying versions, each only if nobody changed it meanwhile.

use leasehold_core::provider::{ErrorClass, ProviderError, VersionState};

use crate::{
    client::{CloudClient, StateChange, Version},
    error::Cause,
    reference::{LATEST, Secret},
};

/// Changes a version; `current` is what is read when none is named: an alias, or the newest version.
///
/// # Errors
/// [`ErrorClass::Absent`] when it is gone; [`ErrorClass::Invalid`] when nothing readable would be left as the current one.
pub(crate) async fn change(
    client: &dyn CloudClient,
    secret: &Secret<'_>,
    current: Option<&str>,
    number: u64,
    change: StateChange,
) -> Result<(), ProviderError> {
    // Once more when the etag says that somebody changed it since it was looked at.
    let mut again = true;
    loop {
        let version = client.version(secret, &number.to_string()).await?;
        if is_done(secret, &version, change)? {
            return Ok(());
        }
        if change != StateChange::Enable {
            spare_the_current(client, secret, current.unwrap_or(LATEST), number).await?;
        }
        match client.set_state(secret, &version, change).await {
            Ok(()) => return Ok(()),
            Err(failure) if again && failure.cause == Cause::Precondition => again = false,
            Err(failure) => return Err(failure.error),
        }
    }
}

fn is_done(secret: &Secret<'_>, version: &Version, change: StateChange) -> Result<bool, ProviderError> {
    match (change, version.state) {
        (StateChange::Disable, VersionState::Disabled)
        | (StateChange::Enable, VersionState::Enabled)
        | (StateChange::Destroy, VersionState::Destroyed) => Ok(true),
        // The secret's `version_destroy_ttl` makes it wait, disabled.
        (StateChange::Destroy, VersionState::Disabled) => Ok(version.destroyed_at.is_some()),
        (_, VersionState::Destroyed) => Err(ProviderError::new(
            ErrorClass::Absent,
            format!("version {} of `{}` is destroyed", version.number, secret.id),
        )),
        _ => Ok(false),
    }
}

async fn spare_the_current(
    client: &dyn CloudClient,
    secret: &Secret<'_>,
    current: &str,
    number: u64,
) -> Result<(), ProviderError> {
    let current = client.version(secret, current).await?;
    if current.number == number {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            format!(
                "version {number} is the current one of `{}`, and no other would take its place: add a new version first",
                secret.id
            ),
        ));
    }
    Ok(())
}
