//! The broker's own back end, as `config/examples/local.toml` has it.

use std::process::Command;

use leasehold_tests::binaries;
use serde_json::Value;

use crate::{
    examples::Example,
    kit::{Ran, Scene, run},
};

const DB: &str = "prod/payments/db";
/// Of the second provider; asked for at each lease.
const PARTNER: &str = "prod/payments/partner-key";
const MOUNTED: &str = "prod/shared/tls";

/// The states of a secret's versions, the newest first, and which one is current.
async fn versions(scene: &mut Scene, secret: &str) -> Vec<(String, bool)> {
    let listed = scene.operator(&format!("secret versions {secret}")).await;
    let state = |version: &Value| {
        (version["state"].as_str().unwrap().to_owned(), version["current"].as_bool().unwrap())
    };
    listed.as_array().unwrap().iter().map(state).collect()
}

fn states(states: &[(&str, bool)]) -> Vec<(String, bool)> {
    states.iter().map(|(state, current)| ((*state).to_owned(), *current)).collect()
}

#[tokio::test]
async fn what_is_put_is_lent_changed_deleted_and_restored() {
    let mut scene = Scene::of(Example::of("local"));
    let daemon = scene.start().await;
    for secret in [DB, MOUNTED] {
        let value = scene.canary(secret);
        let version = scene.put(secret, &value).await;
        let taken = scene.lease(secret).await;
        assert_eq!((taken.field("value"), taken.version()), (&*value, &*version));
        assert_eq!(taken.irrevocable_until(), None);
    }
    assert_eq!(scene.listed("active").await.len(), 2);

    let (old, new) = (scene.canary("old"), scene.canary("new"));
    let first = scene.put(PARTNER, &old).await;
    let second = scene.put(PARTNER, &new).await;
    assert_eq!(scene.lease(PARTNER).await.field("value"), new);
    assert_eq!(versions(&mut scene, PARTNER).await, states(&[("enabled", true), ("enabled", false)]));
    scene.operator(&format!("secret promote {PARTNER} --version {first}")).await;
    assert_eq!(scene.lease(PARTNER).await.field("value"), old);
    scene.operator(&format!("secret disable {PARTNER} --version {second}")).await;
    assert_eq!(versions(&mut scene, PARTNER).await, states(&[("disabled", false), ("enabled", true)]));
    let why = scene.refused("operator", &format!("secret promote {PARTNER} --version {second}")).await;
    assert!(why.contains("disabled"), "{why}");
    scene.operator(&format!("secret enable {PARTNER} --version {second}")).await;
    scene.operator(&format!("secret promote {PARTNER} --version {second}")).await;
    assert_eq!(scene.lease(PARTNER).await.field("value"), new);
    scene.operator(&format!("secret destroy {PARTNER} --version {first} --yes")).await;
    assert_eq!(versions(&mut scene, PARTNER).await, states(&[("enabled", true), ("destroyed", false)]));

    scene.operator(&format!("secret delete {PARTNER} --reason tidying")).await;
    let why = scene.refused("workload", &format!("lease get {PARTNER} -o json")).await;
    assert!(why.contains("PROVIDER_SECRET_ABSENT"), "{why}");
    scene.operator(&format!("secret restore {PARTNER}")).await;
    assert_eq!(scene.lease(PARTNER).await.field("value"), new);
    scene.operator(&format!("secret delete {PARTNER}")).await;
    scene.operator(&format!("secret purge {PARTNER} --yes")).await;
    scene.refused("operator", &format!("secret restore {PARTNER}")).await;

    let records = scene.records("secret.changed", &format!("--secret {PARTNER}")).await;
    let (failed, done): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["outcome"]["result"] == "failed");
    assert_eq!((done.len(), failed.len()), (9, 2), "{records:#?}");
    for provider in ["local", "partners"] {
        scene.checked(provider).await;
    }
    scene.close(daemon).await;
}

/// `leaseholdd local` with a bundle beside the site of `desk`.
async fn bundle(at: &Scene, desk: &Scene, verb: &str, file: &str) -> Ran {
    let mut command = Command::new(binaries::leaseholdd());
    command.args(["local", verb, "--provider", "local", "--config"]).arg(at.site.path("leasehold.toml"));
    command
        .arg("--key-file")
        .arg(desk.site.path("bundle.key"))
        .arg(file)
        .arg(desk.site.path("secrets.bundle"));
    run(command, "").await
}

#[tokio::test]
async fn a_bundle_carries_secrets_to_another_broker() {
    let mut from = Scene::of(Example::of("local"));
    let daemon = from.start().await;
    let (one, two) = (from.canary("one"), from.canary("two"));
    let first = from.put(DB, &one).await;
    let second = from.put(DB, &two).await;
    from.put(MOUNTED, &one).await;

    let mut init = Command::new(binaries::leaseholdd());
    init.args(["init", "--key-file"]).arg(from.site.path("bundle.key"));
    assert_eq!(run(init, "").await.code, 0);
    let busy = bundle(&from, &from, "export", "--out").await;
    assert_eq!(busy.code, 4, "a broker has it open: {busy:?}");
    assert!(daemon.stop().await.success());
    let exported = bundle(&from, &from, "export", "--out").await;
    assert_eq!(exported.code, 0, "{exported:?}");

    let mut to = Scene::of(Example::of("local"));
    for value in [&one, &two] {
        to.guard("what is carried", value);
    }
    for _ in 0..2 {
        let imported = bundle(&to, &from, "import", "--in").await;
        assert_eq!(imported.code, 0, "a second time changes nothing: {imported:?}");
    }
    let daemon = to.start().await;
    let taken = to.lease(DB).await;
    assert_eq!((taken.field("value"), taken.version()), (&*two, &*second));
    assert_eq!(to.lease(MOUNTED).await.field("value"), one);
    to.operator(&format!("secret promote {DB} --version {first}")).await;
    let listed = to.operator(&format!("secret versions {DB}")).await;
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    to.close(daemon).await;
    let daemon = from.start().await;
    from.close(daemon).await;
}
