//! What a provider says of a back end in trouble, and that it works again when the trouble is over.

use leasehold_core::{
    SecretValue,
    provider::{ErrorClass, Fetch, Fetched, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};

use super::{ensure, is, same, text, told};
use crate::{
    fixture::Fixture,
    report::Against,
    scene::{Scene, Trouble, Unplayed},
};

/// A read that fails in a certain class, until the scene's turn.
pub(super) async fn fails(
    subject: &dyn Fixture,
    trouble: Trouble,
    class: ErrorClass,
) -> Result<Against, Unplayed> {
    let scene = subject.trouble(trouble).await?;
    let error = is(fetch(&scene).await, class, &format!("a read in {trouble:?}"))?;
    discreet(&scene, &error)?;
    if let Some(hint) = scene.hint {
        ensure!(
            error.retry_after == Some(hint),
            "the back end says to wait {hint:?}, and the provider says {:?}",
            error.retry_after
        );
    }
    if scene.turn().await? {
        reads(&scene, "after the trouble").await?;
    }
    Ok(scene.against)
}

/// Reads that succeed although the connection is ended after each.
pub(super) async fn cut_after_answer(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let scene = subject.trouble(Trouble::CutAfterAnswer).await?;
    for time in ["first", "second", "third"] {
        reads(&scene, &format!("the {time} time")).await?;
        scene.turn().await?;
    }
    Ok(scene.against)
}

pub(super) async fn credential_expiry(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let scene = subject.trouble(Trouble::CredentialExpiry).await?;
    reads(&scene, "before its credentials ended").await?;
    ensure!(scene.turn().await?, "the scene has no turn at which the credentials end");
    if scene.stays_denied {
        let error = is(fetch(&scene).await, ErrorClass::Denied, "a read with ended credentials")?;
        discreet(&scene, &error)?;
    } else {
        reads(&scene, "after its credentials ended").await?;
    }
    Ok(scene.against)
}

pub(super) async fn clock_skew(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let scene = subject.trouble(Trouble::ClockSkew).await?;
    let Err(error) = fetch(&scene).await else {
        return Err(Unplayed::Failed("a read succeeds although the clocks differ".to_owned()));
    };
    discreet(&scene, &error)?;
    ensure!(error.to_string().contains("clock"), "it does not say that the clocks differ: {error}");
    ensure!(
        matches!(error.class, ErrorClass::Denied | ErrorClass::Permanent),
        "clocks that differ are {:?}, which nobody looks at: {error}",
        error.class
    );
    Ok(scene.against)
}

/// A write whose answer is lost is done once, whoever repeats it.
pub(super) async fn lost_write_answer(subject: &dyn Fixture) -> Result<Against, Unplayed> {
    let scene = subject.trouble(Trouble::LostWriteAnswer).await?;
    let lists = scene.provider.capabilities().versions;
    let before = if lists { count(&scene).await? } else { 0 };
    let value = text("written once, heard of twice");
    let first = write(&scene, &value).await;
    if let Err(error) = first {
        discreet(&scene, &error)?;
        is(Err::<(), _>(error), ErrorClass::Transient, "a write whose answer is lost")?;
    }
    let repeated = write(&scene, &value).await.map_err(|error| told("the write is not repeated", &error))?;
    let fetched = fetch(&scene).await.map_err(|error| told("what was written is not read", &error))?;
    same(&scene.reference, &fetched.value, &value)?;
    ensure!(fetched.version == repeated, "{repeated} was written, and {} is current", fetched.version);
    if lists {
        let made = count(&scene).await?.saturating_sub(before);
        ensure!(made == 1, "one write, repeated, made {made} versions");
    }
    Ok(scene.against)
}

async fn fetch(scene: &Scene) -> Result<Fetched, ProviderError> {
    scene.provider.fetch(Fetch { reference: &scene.reference, version: None }).await
}

async fn write(scene: &Scene, value: &SecretValue) -> Result<VersionId, ProviderError> {
    let token = "6f1ed002-ab5c-4a7e-8d2b-000000000a00";
    let request =
        WriteVersion { reference: &scene.reference, value, token, expected: None, stage: Stage::Current };
    scene.provider.write(request).await
}

async fn count(scene: &Scene) -> Result<usize, String> {
    let versions = scene.provider.versions(&scene.reference).await;
    versions.map(|versions| versions.len()).map_err(|error| told("its versions are not listed", &error))
}

/// Fails the case unless the scene's secret is read as it is.
async fn reads(scene: &Scene, when: &str) -> Result<(), String> {
    let fetched = fetch(scene).await;
    let fetched =
        fetched.map_err(|error| told(&format!("`{}` is not read {when}", scene.reference), &error))?;
    same(&scene.reference, &fetched.value, &scene.value)
}

/// Fails the case if an error repeats the value.
fn discreet(scene: &Scene, error: &ProviderError) -> Result<(), String> {
    let shown = format!("{error} {error:?}");
    for (name, bytes) in &scene.value.fields {
        let value = String::from_utf8_lossy(bytes.expose());
        ensure!(value.len() < 8 || !shown.contains(&*value), "the error repeats the field `{name}`");
    }
    Ok(())
}
