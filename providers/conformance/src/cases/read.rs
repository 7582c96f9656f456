//! Reading.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use leasehold_core::{
    SecretValue,
    provider::{ChangeSecret, ErrorClass, Fetch, Stage, WriteVersion},
};

use super::{ensure, fields, is, reads, text};
use crate::fixture::Fixture;

pub(super) async fn current(subject: &dyn Fixture) -> Result<(), String> {
    let value = text("correct horse");
    let placed = subject.put("current", &value).await?;
    let version = reads(subject, &placed.reference, None, &value).await?;
    ensure!(version == placed.version, "version {version} is read, and {} was put", placed.version);
    Ok(())
}

pub(super) async fn old_version(subject: &dyn Fixture) -> Result<(), String> {
    let (old, new) = (text("the old one"), text("the new one"));
    let first = subject.put("old-version", &old).await?;
    let second = subject.put("old-version", &new).await?;
    for (placed, value) in [(&first, &old), (&second, &new), (&first, &old)] {
        let version = reads(subject, &placed.reference, Some(&placed.version), value).await?;
        ensure!(version == placed.version, "asked for {}, and got {version}", placed.version);
    }
    Ok(())
}

pub(super) async fn newest(subject: &dyn Fixture) -> Result<(), String> {
    let mut seen = Vec::new();
    for round in 0..4 {
        let value = text(&format!("round {round}"));
        let placed = subject.put("newest", &value).await?;
        let version = reads(subject, &placed.reference, None, &value).await?;
        ensure!(version == placed.version, "version {version} is current, and {} is newest", placed.version);
        ensure!(!seen.contains(&version), "two values are version {version}");
        seen.push(version);
    }
    Ok(())
}

pub(super) async fn absent_secret(subject: &dyn Fixture) -> Result<(), String> {
    let reference = subject.absent_reference();
    let request = Fetch { reference: &reference, version: None };
    is(subject.provider().fetch(request).await, ErrorClass::Absent, "a secret that is not there").map(drop)
}

pub(super) async fn absent_version(subject: &dyn Fixture) -> Result<(), String> {
    let placed = subject.put("absent-version", &text("something else")).await?;
    let version = subject.absent_version();
    let request = Fetch { reference: &placed.reference, version: Some(&version) };
    is(subject.provider().fetch(request).await, ErrorClass::Absent, "a version that is not there").map(drop)
}

pub(super) async fn malformed_version(subject: &dyn Fixture) -> Result<(), String> {
    let Some(version) = subject.malformed_version() else { return Ok(()) };
    let placed = subject.put("malformed-version", &text("something else")).await?;
    let request = Fetch { reference: &placed.reference, version: Some(&version) };
    is(subject.provider().fetch(request).await, ErrorClass::Invalid, "a version that cannot be").map(drop)
}

pub(super) async fn unicode(subject: &dyn Fixture) -> Result<(), String> {
    let value = text("héß 秘密 🔑 \"quoted\" \\back\u{0}\u{7f}\r\n\t<&>{} ");
    let placed = subject.put("unicode", &value).await?;
    reads(subject, &placed.reference, None, &value).await.map(drop)
}

pub(super) async fn binary(subject: &dyn Fixture) -> Result<(), String> {
    let bytes: Vec<u8> = (0..=u8::MAX).chain([0xff, 0xfe, 0, 0xc3, 0x28]).collect();
    let value = fields(&[("value", &bytes)], SecretValue::OCTETS)?;
    let placed = subject.put("binary", &value).await?;
    reads(subject, &placed.reference, None, &value).await.map(drop)
}

pub(super) async fn named_fields(subject: &dyn Fixture) -> Result<(), String> {
    let value = fields(
        &[("user", b"app"), ("password", b"\"tr\xc3\xa9s\" secret\\"), ("tls.key-1", b"a\nb")],
        SecretValue::TEXT,
    )?;
    let placed = subject.put("named-fields", &value).await?;
    reads(subject, &placed.reference, None, &value).await.map(drop)
}

pub(super) async fn largest(subject: &dyn Fixture) -> Result<(), String> {
    let value = text(&"x".repeat(subject.largest_value()));
    let placed = subject.put("largest", &value).await?;
    reads(subject, &placed.reference, None, &value).await.map(drop)
}

pub(super) async fn hostile(subject: &dyn Fixture) -> Result<(), String> {
    let long = "a".repeat(4096);
    let everywhere = [
        "",
        "/",
        "//",
        ".",
        "..",
        "a/..",
        "../a",
        "a/../../b",
        "a//b",
        "a/./b",
        "a%2fb",
        "a%2e%2e%2fb",
        "a?b",
        "a?version=1",
        "a#b",
        "a&b",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "a\r\nx: y",
        "a b",
        " a",
        "~",
        "$(a)",
        "a;b",
        "a\u{202e}b",
        "é",
        "秘密",
        "a／b",
        "‥/a",
        "%2e%2e%2fa",
        "..%2f..%2fa",
        "..%252fa",
        "a%00b",
        "%",
        "file:///etc/passwd",
        "http://example.com/",
        &long,
    ];
    let mut hostile = subject.hostile_references();
    hostile.extend(everywhere.map(str::to_owned));
    let (provider, calls) = match subject.watched() {
        Some((provider, calls)) => (provider, Some(calls)),
        None => (subject.provider(), None),
    };
    let (can, version) = (provider.capabilities(), subject.absent_version());
    for reference in hostile {
        let what = format!("the reference {reference:.40?}");
        let answer = provider.fetch(Fetch { reference: &reference, version: None }).await;
        is(answer, ErrorClass::Invalid, &what)?;
        if can.versions {
            is(provider.versions(&reference).await, ErrorClass::Invalid, &format!("listing {what}"))?;
        }
        if can.write {
            let (reference, value) = (&*reference, &text("never written"));
            let token = "6f1ed002-ab5c-4a7e-8d2b-000000000c00";
            let request = WriteVersion { reference, value, token, expected: None, stage: Stage::Current };
            is(provider.write(request).await, ErrorClass::Invalid, &format!("writing {what}"))?;
        }
        for &change in can.changes {
            let version = change.is_of_version().then_some(&version);
            let request = ChangeSecret { reference: &reference, version, change, expected: None };
            is(provider.change(request).await, ErrorClass::Invalid, &format!("to {change} {what}"))?;
        }
        let made = calls.map_or(0, |calls| calls.load(Ordering::SeqCst));
        ensure!(made == 0, "the back end was asked for {reference:.40?}");
    }
    Ok(())
}

pub(super) async fn concurrent(subject: &dyn Fixture) -> Result<(), String> {
    let mut placed = Vec::new();
    for index in 0..4 {
        let value = text(&format!("value {index}"));
        placed.push((subject.put(&format!("concurrent-{index}"), &value).await?, value));
    }
    let readers = placed.iter().cycle().take(1_000);
    let readers = readers.map(|(at, value)| reads(subject, &at.reference, None, value));
    join_all(readers).await.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
}
