//! The ends of credentials, and what proves them.

use leasehold_core::{
    LeaseId,
    lease::RevocationHandle,
    ports::Provider,
    provider::{RevokeCredential, Tagged, Verification},
};

use super::{
    ensure,
    issue::{handle, issuer, make_by},
    told,
};
use crate::{fixture::Fixture, issuing::Issuing, report::Against, scene::Unplayed};

pub(super) async fn verified(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let provider = subject.provider();
    let made = make_by(provider, issuing, 10, issuing.ttl()).await?;
    for time in ["once", "twice"] {
        let verdict = end(provider, made.lease, Some(handle(&made)?)).await?;
        ensure!(
            verdict == Verification::Verified,
            "a credential that was ended {time} is {}, and should be seen to be dead",
            verdict.name()
        );
    }
    Ok(())
}

/// Whether it sees through a back end that ends nothing.
pub(super) async fn in_vain(issuing: &dyn Issuing) -> Result<Against, Unplayed> {
    let vain = issuing.ending_in_vain().await?;
    let made = make_by(&*vain.provider, issuing, 11, issuing.ttl()).await?;
    let verdict = end(&*vain.provider, made.lease, Some(handle(&made)?)).await?;
    ensure!(
        verdict == Verification::StillValid,
        "a credential that works on after its end is told as {}",
        verdict.name()
    );
    Ok(vain.against)
}

pub(super) async fn tagged(subject: &dyn Fixture, issuing: &dyn Issuing) -> Result<(), String> {
    let provider = subject.provider();
    let (one, other) = (
        make_by(provider, issuing, 12, issuing.ttl()).await?,
        make_by(provider, issuing, 13, issuing.ttl()).await?,
    );
    let found = listed(provider, one.lease).await?;
    let [found] = &*found else { return Err(format!("it is listed {} times", found.len())) };
    ensure!(!found.name.is_empty(), "it is listed without a name");
    let verdict = end(provider, found.lease, found.handle.as_ref()).await?;
    ensure!(verdict != Verification::StillValid, "what is listed of it does not end it");
    ensure!(listed(provider, one.lease).await?.is_empty(), "it is listed after its end");
    ensure!(!listed(provider, other.lease).await?.is_empty(), "another one is listed no more");
    let gone = issuer(provider)?.look_up(handle(&one)?).await;
    ensure!(gone.is_err(), "what was ended as it was listed can be looked up");
    end(provider, other.lease, Some(handle(&other)?)).await.map(drop)
}

async fn end(
    provider: &dyn Provider,
    lease: LeaseId,
    handle: Option<&RevocationHandle>,
) -> Result<Verification, String> {
    let ended = issuer(provider)?.revoke(RevokeCredential { lease, handle }).await;
    ended.map_err(|error| told("a credential is not revoked", &error))
}

/// What is listed of one lease.
async fn listed(provider: &dyn Provider, lease: LeaseId) -> Result<Vec<Tagged>, String> {
    let mut all =
        issuer(provider)?.tagged().await.map_err(|error| told("what has the tag is not listed", &error))?;
    all.retain(|found| found.lease == lease);
    Ok(all)
}
