//! Writing, and what a back end says of that which it cannot do.

use super::{ensure, fields, is, reads, text};
use crate::{fixture::Fixture, report::Against, scene::Unplayed};
use futures::future::join_all;
use leasehold_core::{
    LeaseId, SecretBytes, SecretValue, Timestamp,
    lease::RevocationHandle,
    provider::{
        Change, ChangeSecret, ErrorClass, Fetch, ProviderError, RenewCredential, RevokeCredential, Stage,
        WriteVersion,
    },
    secret::VersionId,
};

async fn write(
    subject: &dyn Fixture,
    reference: &str,
    value: &SecretValue,
    token: &str,
    expected: Option<&VersionId>,
) -> Result<VersionId, ProviderError> {
    subject.provider().write(WriteVersion { reference, value, token, expected, stage: Stage::Current }).await
}

fn said(error: ProviderError) -> String {
    format!("a write fails: {error} ({:?})", error.class)
}

/// Such a token as the broker makes, and different in each place.
fn token(number: u32) -> String {
    format!("6f1ed002-ab5c-4a7e-8d2b-{number:012x}")
}

pub(super) async fn written(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("written", &text("before")).await?;
    for (number, value) in [
        text("after"),
        text("{\"looks\":\"like JSON\"}"),
        fields(&[("value", &[0xff, 0, 1])], SecretValue::OCTETS)?,
        fields(&[("user", b"app"), ("password", "zwölf".as_bytes())], SecretValue::TEXT)?,
    ]
    .iter()
    .enumerate()
    {
        let token = token(u32::try_from(number).unwrap_or_default().saturating_add(0x100));
        let version = write(subject, &placed.reference, value, &token, None).await.map_err(said)?;
        ensure!(version != placed.version, "a new value is the old version {version}");
        let current = reads(subject, &placed.reference, None, value).await?;
        ensure!(current == version, "version {version} was written, and {current} is current");
    }
    Ok(())
}

pub(super) async fn empty(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("empty", &text("not empty")).await?;
    let value = fields(&[("value", b"")], SecretValue::TEXT)?;
    match write(subject, &placed.reference, &value, &token(0x200), None).await {
        Ok(_) => reads(subject, &placed.reference, None, &value).await.map(drop),
        refused => is(refused, ErrorClass::Invalid, "an empty field").map(drop),
    }
}

pub(super) async fn repeated(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("repeated", &text("before")).await?;
    let value = text("after");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(write(subject, &placed.reference, &value, &token(0x300), None).await.map_err(said)?);
    }
    let short = text("under a short token");
    for _ in 0..2 {
        seen.push(write(subject, &placed.reference, &short, "t", None).await.map_err(said)?);
    }
    let different = seen.windows(2).filter(|pair| pair.first() != pair.last()).count();
    ensure!(different == 1, "two writes, repeated, made the versions {seen:?}");
    reads(subject, &placed.reference, None, &short).await.map(drop)
}

pub(super) async fn reused_token(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("reused-token", &text("before")).await?;
    let first = text("first");
    write(subject, &placed.reference, &first, &token(0x400), None).await.map_err(said)?;
    let answer = write(subject, &placed.reference, &text("second"), &token(0x400), None).await;
    is(answer, ErrorClass::Invalid, "another value under the same token")?;
    reads(subject, &placed.reference, None, &first).await.map(drop)
}

pub(super) async fn expected(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("expected", &text("before")).await?;
    let value = text("after");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = write(subject, &placed.reference, &value, &token(0x500), Some(&placed.version)).await;
        seen.push(answer.map_err(said)?);
    }
    let current = reads(subject, &placed.reference, None, &value).await?;
    ensure!(seen.iter().all(|version| *version == current), "{seen:?} were written, {current} is current");
    Ok(())
}

pub(super) async fn conflict(subject: &dyn Fixture) -> Result<(), String> {
    let old = subject.put("conflict", &text("old")).await?;
    let value = text("somebody else's");
    subject.put("conflict", &value).await?;
    let answer = write(subject, &old.reference, &text("mine"), &token(0x600), Some(&old.version)).await;
    is(answer, ErrorClass::Invalid, "a write on another version than the current one")?;
    reads(subject, &old.reference, None, &value).await.map(drop)
}

pub(super) async fn concurrent(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("concurrent-writes", &text("before")).await?;
    let values: Vec<_> =
        (0x700..0x706).map(|index| (text(&format!("writer {index}")), token(index))).collect();
    let writers = values
        .iter()
        .map(|(value, token)| write(subject, &placed.reference, value, token, Some(&placed.version)));
    let mut winner = None;
    for (answer, (value, _)) in join_all(writers).await.into_iter().zip(&values) {
        match answer {
            Ok(version) => ensure!(winner.replace((version, value)).is_none(), "two writers succeed"),
            lost => drop(is(lost, ErrorClass::Invalid, "a writer who was not first")?),
        }
    }
    let (version, value) = winner.ok_or("no writer succeeds")?;
    let current = reads(subject, &placed.reference, None, value).await?;
    ensure!(current == version, "{version} won, and {current} is current");
    Ok(())
}

pub(super) async fn too_large(subject: &dyn Fixture) -> Result<(), String> {
    let before = text("before");
    let placed = subject.put("too-large", &before).await?;
    let huge = text(&"canary-5c1f".repeat(subject.largest_value()));
    let answer = write(subject, &placed.reference, &huge, &token(0x800), None).await;
    let error = is(answer, ErrorClass::Invalid, "a value that is too large")?;
    ensure!(!format!("{error} {error:?}").contains("canary"), "the error repeats the value");
    reads(subject, &placed.reference, None, &before).await.map(drop)
}

pub(super) async fn sixty_four_kib(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let value = text(&"0123456789abcdef".repeat(4096));
    if subject.largest_value() >= value.fields.values().map(SecretBytes::len).sum() {
        let placed = subject.put("sixty-four-kib", &value).await?;
        reads(subject, &placed.reference, None, &value).await?;
    } else if subject.provider().capabilities().write {
        let small = text("small enough");
        let placed = subject.put("sixty-four-kib", &small).await?;
        let answer = write(subject, &placed.reference, &value, &token(0xa00), None).await;
        is(answer, ErrorClass::Invalid, "64 KiB, which is more than a value can have")?;
        reads(subject, &placed.reference, None, &small).await?;
    } else {
        return Err(Unplayed::Excused("no value has 64 KiB here, and none can be written"));
    }
    Ok(subject.against())
}

pub(super) async fn denied_capabilities(subject: &dyn Fixture) -> Result<(), String> {
    let (provider, can) = (subject.provider(), subject.provider().capabilities());
    let denied = ErrorClass::Permanent;
    let reference = subject.absent_reference();
    let version = subject.absent_version();
    let handle = RevocationHandle::new(SecretBytes::new(b"none".to_vec()));
    if !can.read {
        is(provider.fetch(Fetch { reference: &reference, version: None }).await, denied, "fetch")?;
    }
    if !can.write {
        is(write(subject, &reference, &text("x"), &token(0x900), None).await, denied, "write")?;
    }
    for change in Change::ALL.into_iter().filter(|change| !can.can(*change)) {
        let version = change.is_of_version().then_some(&version);
        let request = ChangeSecret { reference: &reference, version, change, expected: None };
        is(provider.change(request).await, denied, change.as_str())?;
    }
    ensure!(
        provider.native().is_some() == can.rotate,
        "it says that it rotates by itself: {}, and something does: {}",
        can.rotate,
        provider.native().is_some()
    );
    if !can.staging {
        is(provider.discard(&reference, &version).await, denied, "discard")?;
    }
    let issuer = provider.issuer();
    ensure!(
        issuer.is_some() == can.issue,
        "it says that it issues: {}, and it has an issuer: {}",
        can.issue,
        issuer.is_some()
    );
    let Some(issuer) = issuer else { return Ok(()) };
    let lease = LeaseId::from_bits([7; 16]);
    if !can.renew {
        let request = RenewCredential { lease, handle: &handle, until: Timestamp::MAX };
        is(issuer.renew(request).await, denied, "renew")?;
    }
    if !can.revoke {
        let request = RevokeCredential { lease, handle: Some(&handle) };
        is(issuer.revoke(request).await, denied, "revoke")?;
    }
    Ok(())
}
