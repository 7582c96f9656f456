//! What is still owed when the configuration is read again: nobody loses a value that works for it, and nothing is held for ever.

use std::fs;

use leasehold_client::proto::RotationState;
use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::{ask, is_idle, when},
    site::Site,
    wait::until,
};

use crate::{
    kit::{Sidecar, live, path, program},
    reload::{broker, check, config, edition},
};

const FILES: [(&str, &str); 1] = [("db", "{{ secrets.db.value }}")];

/// An entry that runs this in the site's directory, once.
fn command(site: &Site, name: &str, body: &str) -> String {
    let program = program(site, name, &format!("cd {}\n{body}", site.path("").display()));
    format!("[[on_change]]\ncommand = \"{}\"\ndebounce = \"0s\"\nretries = 0\n\n", program.display())
}

async fn given_up(site: &Site) {
    until("it is given up", async || !check(site).1["action_troubles"][0].is_null()).await;
}

/// A sidecar that has the secrets, and cannot tell of changes.
async fn with_a_failing_command(ttl: &str, secrets: &[&str]) -> (Site, Daemon, Sidecar, String) {
    let (site, daemon) = broker(ttl).await;
    let bad = command(&site, "bad", "exit 3");
    let sidecar = Sidecar::start(&site, &format!("{}{bad}", config(secrets, &FILES)));
    until("it is ready", async || check(&site).0 == 0).await;
    (site, daemon, sidecar, bad)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_mended_is_told_of_what_the_other_failed_at_and_the_old_lease_waits_for_it() {
    let (site, daemon, mut sidecar, _) = with_a_failing_command("10m", &["db"]).await;
    let operator = daemon::operator(&site).await.operator();
    ask(&operator, &path("db")).await;
    given_up(&site).await;

    let body = ": > begun\nuntil [ -e gate ]; do /bin/sleep 0.05; done\necho \"$LEASEHOLD_CHANGED\" >> told";
    let good = command(&site, "good", body);
    sidecar.reconfigure(&site, &format!("{}{good}", config(&["db"], &FILES)));
    edition(&site, 1).await;
    until("the new one is run", async || site.path("begun").exists()).await;
    let draining = when(&operator, &path("db"), |rotation| rotation.state() == RotationState::Draining).await;
    assert!(!is_idle(&draining));
    assert_eq!(live(&site).await, ["prod/payments/db"; 2], "the service has the old value");

    fs::write(site.path("gate"), "").unwrap();
    when(&operator, &path("db"), is_idle).await;
    assert_eq!(fs::read_to_string(site.path("told")).unwrap(), "db\n");
    assert_eq!(live(&site).await, ["prod/payments/db"]);
    until("it is well", async || check(&site).1["degraded"] == false).await;
    assert!(sidecar.stop().await.success());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_is_not_renewed_for_somebody_who_cannot_be_told() {
    let (site, daemon, mut sidecar, bad) = with_a_failing_command("4s", &["db", "key"]).await;
    sidecar.reconfigure(&site, &format!("{}{bad}", config(&["db"], &FILES)));
    edition(&site, 1).await;
    given_up(&site).await;
    until("its lease ends", async || live(&site).await == ["prod/payments/db"]).await;
    let (code, report) = check(&site);
    assert_eq!((code, report["action_troubles"][0].is_null()), (0, false), "{report}");
    assert!(sidecar.stop().await.success());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_gives_back_what_was_leased_for_a_configuration_that_never_came_to_be() {
    let (site, daemon) = broker("10m").await;
    let good = config(&["db"], &FILES).replace("[files]\n", "[files]\nremove_on_exit = false\n");
    let mut sidecar = Sidecar::start(&site, &good);
    until("it is ready", async || check(&site).0 == 0).await;
    let more = "[[secret]]\nname = \"more\"\npath = \"prod/payments/more\"\n\n\
                [[secret]]\nname = \"x\"\npath = \"prod/orders/x\"\n\n";
    sidecar.reconfigure(&site, &format!("{good}{more}"));
    until("it waits for the other", async || live(&site).await == ["prod/payments/db", "prod/payments/more"])
        .await;
    assert!(sidecar.stop().await.success());
    assert_eq!(live(&site).await, ["prod/payments/db"], "what files were made of stays");
    daemon.stop().await;
}
