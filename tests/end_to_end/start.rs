//! What keeps a broker from starting is told with the way out, and harms nothing.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};

use crate::kit::{Ran, contents, lease, leaseholdd, run};

fn mode(site: &Site, name: &str, mode: u32) {
    fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_told(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "nothing of {word:?} in\n{}", ran.err);
    }
}

#[tokio::test]
async fn a_second_broker_on_the_same_state_is_refused() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let second = leaseholdd(&site, "run");
    let process = format!("the broker with process id {}", daemon.id());
    assert_told(&second, 4, &["state directory", "is in use by", &process]);
    // The first has noticed nothing.
    lease(&daemon::workload(&site).await).await;
    assert!(daemon.stop().await.success());
}

#[test]
fn a_state_directory_that_others_can_read_is_refused() {
    let site = Site::new(Plan::default());
    for exposed in [0o750, 0o705] {
        mode(&site, "state", exposed);
        assert_told(&leaseholdd(&site, "run"), 3, &["open to others than its owner", "chmod 700"]);
    }
    fs::remove_dir_all(site.state()).unwrap();
    assert_told(&leaseholdd(&site, "run"), 3, &["there is no state directory", "leaseholdd init"]);
}

#[test]
fn another_users_state_directory_is_refused() {
    let site = Site::new(Plan::default());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(site.state(), Some(65_534), None).unwrap();
    } else {
        // Who is not root cannot give away, and finds what is root's.
        let config = fs::read_to_string(site.path("leasehold.toml")).unwrap();
        site.write("leasehold.toml", &config.replace("dir = \"state\"", "dir = \"/etc\""));
    }
    assert_told(&leaseholdd(&site, "run"), 3, &["the state directory", "belongs to user", "chown"]);
}

#[test]
fn a_seal_key_that_cannot_be_used_is_refused() {
    let site = Site::new(Plan::default());
    mode(&site, "seal.key", 0o640);
    assert_told(&leaseholdd(&site, "run"), 3, &["seal.key", "chmod 600"]);
    mode(&site, "seal.key", 0o600);
    site.write("seal.key", "hunter2\n");
    let damaged = leaseholdd(&site, "run");
    assert_told(&damaged, 3, &["seal.key", "line 1"]);
    assert!(!damaged.err.contains("hunter2"), "{}", damaged.err);
    fs::remove_file(site.path("seal.key")).unwrap();
    assert_told(&leaseholdd(&site, "run"), 3, &["there is no key ring", "leaseholdd init"]);
}

#[tokio::test]
async fn a_seal_key_that_does_not_fit_is_refused_and_harms_nothing() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let held = lease(&daemon::workload(&site).await).await.lease;
    assert!(daemon.stop().await.success());

    fs::rename(site.path("seal.key"), site.path("the.right.key")).unwrap();
    let made =
        run(Command::new(binaries::leaseholdd()).args(["init", "--key-file"]).arg(site.path("seal.key")));
    assert_eq!(made.code, 0, "{}", made.err);
    let journal = site.state().join("journal");
    let before = contents(&journal);
    assert_told(&leaseholdd(&site, "run"), 3, &["the seal key does not fit the state"]);
    assert_eq!(contents(&journal), before, "the refused start changed the journal");

    fs::rename(site.path("the.right.key"), site.path("seal.key")).unwrap();
    let daemon = Daemon::start(&site).await;
    assert_eq!(daemon::workload(&site).await.get_lease(held.id).await.unwrap().id, held.id);
    assert!(daemon.stop().await.success());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let site = Site::new(Plan::default());
    let _taken = TcpListener::bind(site.address).unwrap();
    assert_told(&leaseholdd(&site, "run"), 1, &[&site.address.to_string()]);
}

#[test]
fn check_config_tells_every_fault_of_the_file_at_once() {
    let site = Site::new(Plan::default());
    let good = fs::read_to_string(site.path("leasehold.toml")).unwrap();
    let bad = good
        .replace("[listen]\n", "[listen]\nmintls = \"1.2\"\n")
        .replace("[limits]\n", "[limits]\nidle_timeout = \"soon\"\n")
        .replace("provider = \"local\"", "provider = \"locla\"");
    site.write("leasehold.toml", &bad);
    let checked = leaseholdd(&site, "check-config");
    let file = site.path("leasehold.toml");
    assert_told(
        &checked,
        2,
        &[
            "unknown key `mintls`",
            "did you mean `min_tls`?",
            "`idle_timeout`",
            "`15m`",
            "there is no provider `locla`",
            "did you mean `local`?",
        ],
    );
    let places = checked.err.lines().filter(|line| line.contains(&format!("{}:", file.display())));
    for place in places.clone() {
        let (_, place) = place.split_once("leasehold.toml:").unwrap();
        let mut numbers = place.split(':');
        for what in ["line", "column"] {
            numbers.next().unwrap().parse::<u32>().unwrap_or_else(|_| panic!("no {what}: {place}"));
        }
    }
    assert_eq!(places.count(), 3, "{}", checked.err);
    assert_told(&leaseholdd(&site, "run"), 2, &["unknown key `mintls`", "there is no provider `locla`"]);
}

#[test]
fn check_config_tells_every_fault_of_what_it_names_at_once() {
    let site = Site::new(Plan::default());
    let good = leaseholdd(&site, "check-config");
    assert_eq!(good.code, 0, "{}", good.err);
    assert!(good.out.contains("is good"), "{}", good.out);

    site.write("tls/server.pem", "not a certificate");
    site.write("policies/20-broken.cedar", "permit (principal, action, resource);\npermit (principal,");
    site.write("policies/30-unknown.cedar", "permit (principal, action == Action::\"Borrow\", resource);");
    mode(&site, "seal.key", 0o644);
    mode(&site, "state", 0o755);
    let checked = leaseholdd(&site, "check-config");
    assert_told(
        &checked,
        2,
        &["tls/server.pem", "20-broken.cedar:2:", "30-unknown.cedar:1:", "seal.key", "chmod 700"],
    );
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let site = Site::new(Plan::default());
    fs::remove_file(site.path("leasehold.toml")).unwrap();
    for verb in ["run", "check-config"] {
        assert_told(&leaseholdd(&site, verb), 2, &["leasehold.toml"]);
    }
    site.write("leasehold.toml", "[listen\n");
    assert_told(&leaseholdd(&site, "run"), 2, &["leasehold.toml:1:"]);
}
