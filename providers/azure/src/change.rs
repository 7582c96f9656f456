//! What is done to versions and secrets that exist. Deleting, restoring and purging go on after the vault has answered:
//! they are waited for as long as a call may take.

use std::{future::Future, time::Duration};

use leasehold_core::provider::{Change, ChangeSecret, ErrorClass, ProviderError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    client::Vault,
    failure::Failure,
    provider::{AzureProvider, checked},
    reference::Reference,
};

/// How often it is looked whether something has happened, at first; then half as often each time.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// How often at least.
const RAREST_LOOK: Duration = Duration::from_secs(2);

impl AzureProvider {
    pub(crate) async fn change_secret(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let what = format!("to {} `{}`", request.change, request.reference);
        let vault = self.vault()?;
        let name = reference.name;
        if reference.pinned.is_some() {
            return Err(invalid(&what, "its `ref` is pinned to a version: name the secret without one"));
        }
        let now = Instant::now();
        let deadline = now.checked_add(self.config.timeout).unwrap_or(now);
        match (request.change, request.version.map(checked).transpose()?) {
            (Change::Enable, Some(version)) => self.enable(vault, name, version, true, &what).await,
            (Change::Disable, Some(version)) => {
                match self.attempts.run(|| vault.read(name, None)).await {
                    Ok(latest) if latest.about.version == version => {
                        let why =
                            "it is the current version, so that nothing could be read: write a new one first";
                        return Err(invalid(&what, why));
                    }
                    Err(failure) if failure.is_missing() => return Err(self.absent(name, &what).await),
                    Err(failure) if !failure.is_disabled() => return Err(failure.during(&what)),
                    _ => {}
                }
                self.enable(vault, name, version, false, &what).await
            }
            (Change::Delete, None) => self.delete(vault, name, &what, deadline).await,
            (Change::Restore, None) => self.restore(vault, name, &what, deadline).await,
            (Change::Purge, None) => self.purge(vault, name, &what, deadline).await,
            (Change::Enable | Change::Disable, None) => Err(invalid(&what, "a version must be named")),
            (Change::Delete | Change::Restore | Change::Purge, Some(_)) => {
                Err(invalid(&what, "it is done to the whole secret, and no version may be named"))
            }
            (other, _) => Err(ProviderError::unsupported(other.as_str())),
        }
    }

    async fn enable(
        &self,
        vault: &dyn Vault,
        name: &str,
        version: &str,
        enabled: bool,
        what: &str,
    ) -> Result<(), ProviderError> {
        match self.attempts.run(|| vault.enable(name, version, enabled)).await {
            Err(failure) if failure.is_missing() => Err(self.absent(name, what).await),
            done => done.map_err(|failure| failure.during(what)),
        }
    }

    async fn delete(
        &self,
        vault: &dyn Vault,
        name: &str,
        what: &str,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let deleted = || vault.is_deleted(name);
        match self.attempts.run(|| vault.delete(name)).await {
            Err(failure) if failure.is_missing() => match deleted().await {
                Ok(true) => Ok(()),
                Ok(false) => Err(self.absent(name, what).await),
                Err(failure) => Err(failure.during(what)),
            },
            Err(failure) if failure.inner() != Some("ObjectIsBeingDeleted") => Err(failure.during(what)),
            _ => self.until(deadline, deleted, what, "it is still being deleted").await,
        }
    }

    async fn restore(
        &self,
        vault: &dyn Vault,
        name: &str,
        what: &str,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let back = || exists(vault, name);
        match self.attempts.run(|| vault.recover(name)).await {
            Err(failure) if failure.is_missing() => match back().await {
                Ok(true) => Ok(()),
                Ok(false) => Err(self.absent(name, what).await),
                Err(failure) => Err(failure.during(what)),
            },
            Err(failure) if failure.inner() != Some("ObjectIsBeingRecovered") => Err(failure.during(what)),
            _ => self.until(deadline, back, what, "it is still being restored").await,
        }
    }

    async fn purge(
        &self,
        vault: &dyn Vault,
        name: &str,
        what: &str,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let purged = async || vault.is_deleted(name).await.map(|deleted| !deleted);
        match self.attempts.run(|| vault.purge(name)).await {
            Err(failure) if failure.is_missing() => match exists(vault, name).await {
                Ok(true) => Err(invalid(what, "it is not deleted: delete it first")),
                // Nothing tells what was purged from what never was.
                Ok(false) => Ok(()),
                Err(failure) => Err(failure.during(what)),
            },
            Err(failure) => Err(failure.during(what)),
            Ok(()) => self.until(deadline, purged, what, "it is still being purged").await,
        }
    }

    /// Looks until something has happened, or time is up.
    async fn until<F>(
        &self,
        deadline: Instant,
        happened: impl Fn() -> F,
        what: &str,
        not_yet: &str,
    ) -> Result<(), ProviderError>
    where
        F: Future<Output = Result<bool, Failure>>,
    {
        let looking = async {
            let mut pause = FIRST_LOOK;
            loop {
                match happened().await {
                    Ok(true) => return Ok(()),
                    Err(failure) if !failure.class().is_retryable() => return Err(failure.during(what)),
                    Ok(false) | Err(_) => {}
                }
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(RAREST_LOOK);
            }
        };
        timeout_at(deadline, looking)
            .await
            .unwrap_or_else(|_| Err(ProviderError::new(ErrorClass::Transient, format!("{what}: {not_yet}"))))
    }
}

/// Whether a secret is there and not deleted; it may be disabled.
async fn exists(vault: &dyn Vault, name: &str) -> Result<bool, Failure> {
    match vault.read(name, None).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_disabled() => Ok(true),
        Err(failure) if failure.is_missing() => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn invalid(what: &str, why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, format!("{what}: {why}"))
}
