//! The configurations that are shown, run as they are but for who and where.

use std::{fs, path::Path};

use leasehold_client::Write;
use leasehold_core::{SecretBytes, SecretValue};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::Site,
    wait::until,
};
use rustix::process::{getgid, getuid};

use crate::kit::{Sidecar, folder, site};

const SECRETS: [&str; 3] = ["db", "tls", "signing-key"];

/// Fields for every example.
async fn fill(site: &Site) {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let fields =
        [("username", "app"), ("password", "canary-1f"), ("tls.crt", certificate), ("tls.key", "canary-2e")];
    let field = |(name, value): (&str, &str)| (name.parse().unwrap(), SecretBytes::from(value.to_owned()));
    for name in SECRETS {
        let fields = fields.into_iter().map(field).collect();
        let write = Write {
            secret: format!("prod/payments/{name}").parse().unwrap(),
            value: SecretValue { fields, content_type: SecretValue::TEXT.into() },
            expected: None,
            request_id: None,
        };
        daemon::operator(site).await.operator().write_secret(write).await.unwrap();
    }
}

/// As it is shown, but for the broker's address, the folders, and who may ask.
fn here(shown: &str, site: &Site) -> String {
    let run = site.path("run").display().to_string();
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let mut text = shown
        .replace("broker.example.org:8443", &site.address.to_string())
        .replace("/run/leasehold/identity", &site.path("identity").display().to_string())
        .replace("/etc/leasehold/templates", &site.path("templates").display().to_string());
    for folder in
        ["/run/leasehold-sidecar/payments", "/run/leasehold/payments", "/var/lib/leasehold-sidecar/payments"]
    {
        text = text.replace(&format!("{folder}."), &format!("{run}/payments.")).replace(folder, &run);
    }
    for name in ["payments-api", "payments-worker", "payments"] {
        for key in ["owner", "user"] {
            text = text.replace(&format!("{key} = \"{name}\""), &format!("{key} = \"{user}\""));
        }
        text = text.replace(&format!("group = \"{name}\""), &format!("group = \"{group}\""));
        text = text
            .replace(&format!("\"{name}\"]"), &format!("\"{user}\"]"))
            .replace(&format!("[\"{name}\","), &format!("[\"{user}\","));
    }
    // A port of this machine's choice.
    text.replace("127.0.0.1:2773", "127.0.0.1:0")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_configuration_that_is_shown_runs() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let of_the_sidecar =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sidecar-"));
    let examples = fs::read_dir(config.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = examples.filter(|path| of_the_sidecar(path)).collect();
    all.push(config.join("sidecar.toml"));
    assert!(all.len() > 3, "{all:?}");

    let site = site(&SECRETS, "10m");
    let broker = Daemon::start(&site).await;
    fill(&site).await;
    let identity = folder(&site, "identity");
    for (from, to) in
        [("tls/workload.pem", "tls.crt"), ("tls/workload.key", "tls.key"), ("tls/clients.pem", "ca.crt")]
    {
        fs::copy(site.path(from), identity.join(to)).unwrap();
    }
    for example in all {
        let run = folder(&site, "run");
        site.write("run/token", "0123456789abcdef0123456789abcdef\n");
        let shown = fs::read_to_string(&example).unwrap();
        let mut text = here(&shown, &site);
        assert!(!text.contains("/run/leasehold"), "{text}");
        if !text.contains("\n[health]") {
            text.push_str(&format!("\n[health]\nsocket = \"{}/health.sock\"\n", run.display()));
        }
        site.write("sidecar.toml", &text);
        let checked = Sidecar::command(&site, "check-config").output().unwrap();
        assert!(checked.status.success(), "{}: {checked:?}", example.display());
        if text.contains("\n[exec]") {
            let script = "test \"$PGUSER:$PGPASSWORD\" = app:canary-1f && exit 42";
            let ran = Sidecar::command(&site, "exec").args(["--", "sh", "-c", script]).output().unwrap();
            assert_eq!(ran.status.code(), Some(42), "{}: {ran:?}", example.display());
        }
        let mut sidecar = Sidecar::spawn(&site, Sidecar::command(&site, "run"));
        let what = format!("{} is ready", example.display());
        until(&what, async || crate::kit::check(&site).0 == 0).await;
        assert!(sidecar.stop().await.success(), "{}:\n{}", example.display(), sidecar.log());
        fs::remove_dir_all(run).unwrap();
    }
    broker.stop().await;
}
