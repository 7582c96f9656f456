//! What a rotation asks of a back end: values written again, versions that wait, and rotation by the back end itself.

use std::time::Duration;

use leasehold_core::{
    SecretValue,
    ports::NativeRotation,
    provider::{Change, ChangeSecret, ErrorClass, Fetch, Followed, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};
use tokio::time::{Instant, sleep};

use super::{ensure, is, reads, text, told};
use crate::{
    fixture::{Fixture, Placed},
    report::Against,
    scene::Unplayed,
};

/// How long a back end's own rotation may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn write(
    subject: &dyn Fixture,
    placed: &Placed,
    value: &SecretValue,
    token: &str,
    expected: Option<&VersionId>,
    stage: Stage,
) -> Result<VersionId, String> {
    let request = WriteVersion { reference: &placed.reference, value, token, expected, stage };
    subject.provider().write(request).await.map_err(|error| told(&format!("{token} is not written"), &error))
}

async fn promote(
    subject: &dyn Fixture,
    placed: &Placed,
    version: &VersionId,
    expected: &VersionId,
) -> Result<(), ProviderError> {
    let (reference, change) = (&*placed.reference, Change::Promote);
    let request = ChangeSecret { reference, version: Some(version), change, expected: Some(expected) };
    subject.provider().change(request).await
}

/// The labels of a version; none when it is not listed.
async fn labels(
    subject: &dyn Fixture,
    placed: &Placed,
    version: &VersionId,
) -> Result<Vec<Box<str>>, String> {
    let listed = subject.provider().versions(&placed.reference).await;
    let listed = listed.map_err(|error| told("the versions are not listed", &error))?;
    let found = listed.into_iter().find(|facts| facts.version == *version);
    Ok(found.map(|facts| facts.labels).unwrap_or_default())
}

pub(super) async fn rewritten(subject: &dyn Fixture) -> Result<(), String> {
    let (old, new) = (text("worked before"), text("was rejected"));
    let first = subject.put("rewritten", &old).await?;
    let second = write(subject, &first, &new, "rewritten-1", Some(&first.version), Stage::Current).await?;
    for _ in 0..2 {
        let third = write(subject, &first, &old, "rewritten-1-back", Some(&second), Stage::Current).await?;
        ensure!(third != first.version && third != second, "what was written again is the version {third}");
        let current = reads(subject, &first.reference, None, &old).await?;
        ensure!(current == third, "{third} was written again, and {current} is current");
    }
    if subject.provider().capabilities().versions {
        reads(subject, &first.reference, Some(&first.version), &old).await?;
        reads(subject, &first.reference, Some(&second), &new).await?;
    }
    Ok(())
}

pub(super) async fn long_token(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("long-token", &text("before")).await?;
    // A path has at most 512 characters, and a number of at most 20 digits follows.
    let long = format!("{}-18446744073709551615", "x".repeat(512));
    let (one, other) = (text("the first attempt"), text("the second attempt"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(write(subject, &placed, &one, &long, None, Stage::Current).await?);
    }
    seen.push(write(subject, &placed, &other, &format!("{long}-2"), None, Stage::Current).await?);
    ensure!(seen.first() == seen.get(1) && seen.get(1) != seen.get(2), "two attempts made {seen:?}");
    reads(subject, &placed.reference, None, &other).await.map(drop)
}

pub(super) async fn replaced(subject: &dyn Fixture) -> Result<(), String> {
    let old = text("before");
    let placed = subject.put("pending-replaced", &old).await?;
    let (one, other) = (text("the first"), text("the second"));
    let over = Some(&placed.version);
    let first = write(subject, &placed, &one, "pending-replaced-1", over, Stage::Pending).await?;
    let waiting = labels(subject, &placed, &first).await?;
    ensure!(!waiting.is_empty(), "version {first} waits, and nothing says so");
    let second = write(subject, &placed, &other, "pending-replaced-2", over, Stage::Pending).await?;
    ensure!(first != second, "two pending values are the one version {first}");
    let current = reads(subject, &placed.reference, None, &old).await?;
    ensure!(current == placed.version, "a pending version is current at once");
    reads(subject, &placed.reference, Some(&second), &other).await?;
    let (left, taken) = (labels(subject, &placed, &first).await?, labels(subject, &placed, &second).await?);
    ensure!(taken == waiting, "version {second} waits as {taken:?}, not as {waiting:?}");
    ensure!(left != waiting, "version {first} was replaced, and waits as {left:?}");
    let promoted = promote(subject, &placed, &second, &placed.version).await;
    promoted.map_err(|error| told("the second pending version is not promoted", &error))?;
    let current = reads(subject, &placed.reference, None, &other).await?;
    ensure!(current == second, "{second} was promoted, and {current} is current");
    Ok(())
}

pub(super) async fn discarded(subject: &dyn Fixture) -> Result<(), String> {
    let old = text("before");
    let placed = subject.put("pending-discarded", &old).await?;
    let over = Some(&placed.version);
    let away = text("thrown away");
    let pending = write(subject, &placed, &away, "pending-discarded-1", over, Stage::Pending).await?;
    let waiting = labels(subject, &placed, &pending).await?;
    let discard = async |version: &VersionId| subject.provider().discard(&placed.reference, version).await;
    for _ in 0..2 {
        let gone = discard(&pending).await;
        gone.map_err(|error| told("a pending version is not discarded", &error))?;
        let left = labels(subject, &placed, &pending).await?;
        ensure!(left.is_empty(), "version {pending} waited as {waiting:?}, and after all still as {left:?}");
    }
    let gone = discard(&subject.absent_version()).await;
    gone.map_err(|error| told("a version that is not there is not discarded", &error))?;
    let current = reads(subject, &placed.reference, None, &old).await?;
    ensure!(current == placed.version, "{current} is current after another version was discarded");
    is(discard(&placed.version).await, ErrorClass::Invalid, "discarding the current version")?;
    let next = text("the next attempt");
    let next_one = write(subject, &placed, &next, "pending-discarded-1-2", over, Stage::Pending).await?;
    let promoted = promote(subject, &placed, &next_one, &placed.version).await;
    promoted.map_err(|error| told("the next pending version is not promoted", &error))?;
    is(discard(&placed.version).await, ErrorClass::Invalid, "discarding what was current before")?;
    reads(subject, &placed.reference, Some(&placed.version), &old).await?;
    reads(subject, &placed.reference, None, &next).await.map(drop)
}

pub(super) async fn promoted_over(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("promotion-conflict", &text("before")).await?;
    let mine = text("mine");
    let pending =
        write(subject, &placed, &mine, "promotion-conflict-1", Some(&placed.version), Stage::Pending).await?;
    let theirs = text("somebody else's");
    let other = subject.put("promotion-conflict", &theirs).await?;
    let refused = promote(subject, &placed, &pending, &placed.version).await;
    is(refused, ErrorClass::Invalid, "a promotion over another version than the current one")?;
    let current = reads(subject, &placed.reference, None, &theirs).await?;
    ensure!(current == other.version, "{current} is current after a promotion that was refused");
    for _ in 0..2 {
        let promoted = promote(subject, &placed, &pending, &other.version).await;
        promoted.map_err(|error| told("a promotion over the current version is not made", &error))?;
        let current = reads(subject, &placed.reference, None, &mine).await?;
        ensure!(current == pending, "{pending} was promoted, and {current} is current");
    }
    Ok(())
}

pub(super) async fn native(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let reference = subject.rotating().await?;
    let native = subject.provider().native();
    let native = native.ok_or_else(|| "it says that it rotates by itself, and nothing does".to_owned())?;
    let mut seen = vec![current(subject, &reference).await?];
    for token in ["native-1", "native-2"] {
        let before = seen.last().map(|(version, _)| version.clone());
        let early = native.follow(&reference, token, before.as_ref()).await;
        let early = early.map_err(|error| told("what was not started is not followed", &error))?;
        if early != Followed::Running {
            return Err(format!("a rotation that was not started has come to {early:?}").into());
        }
        start(native, &reference, token).await?;
        start(native, &reference, token).await?;
        subject.finish_rotation(&reference).await?;
        let done = follow(native, &reference, token, before.as_ref()).await?;
        for _ in 0..2 {
            let (version, value) = current(subject, &reference).await?;
            if version != done || seen.iter().any(|(had, held)| *had == version || *held == value) {
                return Err(format!("{done} is said to be new, and {version} is read").into());
            }
            // Once for each token, though it is started and followed again.
            start(native, &reference, token).await?;
            let again = follow(native, &reference, token, before.as_ref()).await?;
            if again != done {
                return Err(format!("{token} has come to {done}, and then to {again}").into());
            }
        }
        seen.push(current(subject, &reference).await?);
    }
    Ok(subject.against())
}

/// The current version, and what of its value tells it from others.
async fn current(subject: &dyn Fixture, reference: &str) -> Result<(VersionId, Vec<Vec<u8>>), String> {
    let fetched = subject.provider().fetch(Fetch { reference, version: None }).await;
    let fetched = fetched.map_err(|error| told("what rotates by itself is not read", &error))?;
    let bytes = fetched.value.fields.values().map(|bytes| bytes.expose().to_vec()).collect();
    Ok((fetched.version, bytes))
}

async fn start(native: &dyn NativeRotation, reference: &str, token: &str) -> Result<(), String> {
    native.start(reference, token).await.map_err(|error| told("a rotation is not started", &error))
}

async fn follow(
    native: &dyn NativeRotation,
    reference: &str,
    token: &str,
    before: Option<&VersionId>,
) -> Result<VersionId, String> {
    let started = Instant::now();
    loop {
        match native.follow(reference, token, before).await {
            Ok(Followed::Done(version)) => return Ok(version),
            Ok(Followed::Failed(why)) => return Err(format!("a rotation has failed: {why}")),
            Ok(Followed::Running) if started.elapsed() < PATIENCE => sleep(Duration::from_millis(50)).await,
            Ok(Followed::Running) => return Err("a rotation does not end".to_owned()),
            Err(error) => return Err(told("a rotation is not followed", &error)),
        }
    }
}
