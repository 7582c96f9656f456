//! Versions and what can be done to them.

use leasehold_core::{
    SecretValue,
    provider::{
        Change, ChangeSecret, ErrorClass, Fetch, ProviderError, Stage, VersionFacts, VersionState,
        WriteVersion,
    },
    secret::VersionId,
};

use super::{ensure, is, reads, text, told};
use crate::fixture::{Fixture, Placed};

pub(super) async fn listed(subject: &dyn Fixture) -> Result<(), String> {
    let mut placed = Vec::new();
    for round in 0..3 {
        placed.push(subject.put("listed", &text(&format!("round {round}"))).await?);
    }
    let newest = placed.last().ok_or("nothing was put")?;
    let listed = versions(subject, &newest.reference).await?;
    for (at, put) in placed.iter().enumerate() {
        let found = listed.iter().filter(|facts| facts.version == put.version).collect::<Vec<_>>();
        let [facts] = *found else {
            return Err(format!("version {} is listed {} times", put.version, found.len()));
        };
        ensure!(facts.state == VersionState::Enabled, "version {} is {}", put.version, facts.state);
        let is_newest = at.saturating_add(1) == placed.len();
        ensure!(
            facts.current == is_newest,
            "version {} is listed as current: {}",
            put.version,
            facts.current
        );
    }
    let times: Vec<_> = listed.iter().filter_map(|facts| facts.created_at).collect();
    ensure!(times.is_sorted_by(|one, next| one >= next), "the newest is not first: {times:?}");
    let absent = subject.provider().versions(&subject.absent_reference()).await;
    is(absent, ErrorClass::Absent, "listing the versions of a secret that is not there").map(drop)
}

pub(super) async fn pending(subject: &dyn Fixture) -> Result<(), String> {
    let (old, new) = (text("before"), text("after"));
    let placed = subject.put("pending", &old).await?;
    let request = WriteVersion {
        reference: &placed.reference,
        value: &new,
        token: "6f1ed002-ab5c-4a7e-8d2b-000000000b00",
        expected: None,
        stage: Stage::Pending,
    };
    let written = subject.provider().write(request.clone()).await;
    let pending = written.map_err(|error| told("a pending version is not written", &error))?;
    let current = reads(subject, &placed.reference, None, &old).await?;
    ensure!(current == placed.version, "a pending version is current at once");
    reads(subject, &placed.reference, Some(&pending), &new).await?;
    let repeated = subject.provider().write(request).await;
    let repeated = repeated.map_err(|error| told("a pending version is not written again", &error))?;
    ensure!(repeated == pending, "a pending write, repeated, made {pending} and {repeated}");
    for _ in 0..2 {
        change(subject, &placed.reference, Some(&pending), Change::Promote).await?;
        let current = reads(subject, &placed.reference, None, &new).await?;
        ensure!(current == pending, "{pending} was promoted, and {current} is current");
    }
    reads(subject, &placed.reference, Some(&placed.version), &old).await.map(drop)
}

pub(super) async fn promoted(subject: &dyn Fixture) -> Result<(), String> {
    let (old, new) = (text("the old one"), text("the new one"));
    let first = subject.put("promoted", &old).await?;
    let second = subject.put("promoted", &new).await?;
    for (version, value) in [(&first.version, &old), (&first.version, &old), (&second.version, &new)] {
        change(subject, &first.reference, Some(version), Change::Promote).await?;
        let current = reads(subject, &first.reference, None, value).await?;
        ensure!(current == *version, "{version} was promoted, and {current} is current");
    }
    not_there(subject, Change::Promote, &first).await
}

pub(super) async fn disabled(subject: &dyn Fixture) -> Result<(), String> {
    let (old, new) = (text("the old one"), text("the new one"));
    let first = subject.put("disabled", &old).await?;
    let second = subject.put("disabled", &new).await?;
    for _ in 0..2 {
        change(subject, &first.reference, Some(&first.version), Change::Disable).await?;
        is(fetch(subject, &first).await, ErrorClass::Absent, "a disabled version")?;
    }
    stands(subject, &first, VersionState::Disabled).await?;
    let current = reads(subject, &second.reference, None, &new).await?;
    ensure!(current == second.version, "{current} is current after another version was disabled");
    not_there(subject, Change::Disable, &first).await?;
    if !subject.provider().capabilities().can(Change::Enable) {
        return Ok(());
    }
    for _ in 0..2 {
        change(subject, &first.reference, Some(&first.version), Change::Enable).await?;
        reads(subject, &first.reference, Some(&first.version), &old).await?;
    }
    stands(subject, &first, VersionState::Enabled).await
}

pub(super) async fn destroyed(subject: &dyn Fixture) -> Result<(), String> {
    let old = subject.put("destroyed", &text("old")).await?;
    let value = text("new");
    let new = subject.put("destroyed", &value).await?;
    for _ in 0..2 {
        change(subject, &old.reference, Some(&old.version), Change::Destroy).await?;
        is(fetch(subject, &old).await, ErrorClass::Absent, "a destroyed version")?;
    }
    let current = reads(subject, &new.reference, None, &value).await?;
    ensure!(current == new.version, "{current} is current after another version was destroyed");
    // Some keep a destroyed version in their lists and some do not.
    let can = subject.provider().capabilities();
    if can.versions {
        let listed = versions(subject, &old.reference).await?;
        let old = listed.iter().find(|facts| facts.version == old.version);
        ensure!(old.is_none_or(|facts| facts.state == VersionState::Destroyed), "it is listed as {old:?}");
    }
    match ask(subject, &new.reference, Some(&new.version), Change::Destroy).await {
        Ok(()) => is(fetch(subject, &new).await, ErrorClass::Absent, "a destroyed version").map(drop),
        refused => {
            is(refused, ErrorClass::Invalid, "destroying the current version")?;
            reads(subject, &new.reference, None, &value).await.map(drop)
        }
    }
}

pub(super) async fn deleted(subject: &dyn Fixture) -> Result<(), String> {
    let value = text("here and gone");
    let placed = subject.put("deleted", &value).await?;
    let reference = &*placed.reference;
    let current = || subject.provider().fetch(Fetch { reference, version: None });
    for _ in 0..2 {
        change(subject, reference, None, Change::Delete).await?;
        is(current().await, ErrorClass::Absent, "a deleted secret")?;
    }
    let can = subject.provider().capabilities();
    if can.can(Change::Restore) {
        for _ in 0..2 {
            change(subject, reference, None, Change::Restore).await?;
            reads(subject, reference, None, &value).await?;
        }
        change(subject, reference, None, Change::Delete).await?;
        is(current().await, ErrorClass::Absent, "a secret that was deleted again")?;
    }
    if can.can(Change::Purge) {
        for _ in 0..2 {
            change(subject, reference, None, Change::Purge).await?;
            is(current().await, ErrorClass::Absent, "a purged secret")?;
        }
        if can.can(Change::Restore) {
            let restored = ask(subject, reference, None, Change::Restore).await;
            is(restored, ErrorClass::Absent, "restoring a purged secret")?;
        }
    }
    Ok(())
}

async fn versions(subject: &dyn Fixture, reference: &str) -> Result<Vec<VersionFacts>, String> {
    let versions = subject.provider().versions(reference).await;
    versions.map_err(|error| told(&format!("the versions of `{reference}` are not listed"), &error))
}

async fn ask(
    subject: &dyn Fixture,
    reference: &str,
    version: Option<&VersionId>,
    change: Change,
) -> Result<(), ProviderError> {
    subject.provider().change(ChangeSecret { reference, version, change, expected: None }).await
}

async fn change(
    subject: &dyn Fixture,
    reference: &str,
    version: Option<&VersionId>,
    change: Change,
) -> Result<(), String> {
    let done = ask(subject, reference, version, change).await;
    done.map_err(|error| told(&format!("`{reference}` is not to {change}"), &error))
}

async fn fetch(subject: &dyn Fixture, placed: &Placed) -> Result<SecretValue, ProviderError> {
    let request = Fetch { reference: &placed.reference, version: Some(&placed.version) };
    subject.provider().fetch(request).await.map(|fetched| fetched.value)
}

/// Fails the case unless the version is listed in this state.
async fn stands(subject: &dyn Fixture, placed: &Placed, state: VersionState) -> Result<(), String> {
    if !subject.provider().capabilities().versions {
        return Ok(());
    }
    let listed = versions(subject, &placed.reference).await?;
    let found = listed.iter().find(|facts| facts.version == placed.version).map(|facts| facts.state);
    ensure!(found == Some(state), "version {} is listed as {found:?}, not {state}", placed.version);
    Ok(())
}

/// Fails the case unless a version that is not there cannot be changed.
async fn not_there(subject: &dyn Fixture, change: Change, placed: &Placed) -> Result<(), String> {
    let absent = subject.absent_version();
    let answer = ask(subject, &placed.reference, Some(&absent), change).await;
    is(answer, ErrorClass::Absent, &format!("a version that is not there, to {change}")).map(drop)
}
