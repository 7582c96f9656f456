//! The configuration, read again while the sidecar runs: taken over as a whole, or not at all.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Output};

use leasehold_tests::{
    daemon::{self, Daemon},
    rotations::{ask, rotate},
    site::Site,
    wait::until,
};
use serde_json::Value;

use crate::{
    endpoint::get,
    kit::{Sidecar, folder, live, path, program, site},
};

const ENDS: &str =
    "[endpoint]\nsocket = \"run/s.sock\"\n\n[health]\nsocket = \"run/h.sock\"\n\n[files]\ndir = \"files\"\n";

/// Secrets by their names, each of the path of the same name unless it has another; and files.
pub(crate) fn config(secrets: &[&str], files: &[(&str, &str)]) -> String {
    let mut text = ENDS.to_owned();
    for secret in secrets {
        let (name, path) = secret.split_once('=').unwrap_or((secret, secret));
        text.push_str(&format!("[[secret]]\nname = \"{name}\"\npath = \"prod/payments/{path}\"\n\n"));
    }
    for (name, template) in files {
        text.push_str(&format!("[[file]]\nname = \"{name}\"\ntemplate_text = \"{template}\"\n\n"));
    }
    text
}

/// A broker with secrets whose values say their names, leased for `ttl`.
pub(crate) async fn broker(ttl: &str) -> (Site, Daemon) {
    let names = ["db", "key", "more"];
    let site = site(&names, ttl);
    let daemon = Daemon::start(&site).await;
    for name in names {
        daemon::put(&site, &format!("prod/payments/{name}"), &format!("canary-of-{name}")).await;
    }
    folder(&site, "run");
    (site, daemon)
}

/// `leasehold-sidecar check`, which needs no configuration: what is on disk may be faulty.
pub(crate) fn check(site: &Site) -> (i32, Value) {
    let mut command = Sidecar::command(site, "check");
    let Output { status, stdout, .. } =
        command.arg("--socket").arg(site.path("run/h.sock")).arg("--json").output().unwrap();
    (status.code().unwrap(), serde_json::from_slice(&stdout).unwrap_or_default())
}

/// The name of the lease that a secret is held by.
fn lease(site: &Site, name: &str) -> Option<String> {
    let answer = get(&site.path("run/s.sock"), &format!("/v1/secrets/{name}"))?;
    Some(answer.json()["lease_id"].as_str()?.to_owned())
}

fn read(site: &Site, file: &str) -> Option<String> {
    fs::read_to_string(site.path("files").join(file)).ok()
}

/// The files' names, as programs see them.
fn names(site: &Site) -> BTreeSet<String> {
    let entries = fs::read_dir(site.path("files")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("..")).collect()
}

pub(crate) async fn edition(site: &Site, number: u64) {
    let what = format!("reading {number} of the configuration is in force");
    until(&what, async || check(site).1["configuration"] == number).await;
}

/// Waits until the report says why the newest is not taken over, and is well otherwise.
async fn refused(site: &Site, sidecar: &Sidecar, why: &str) {
    let what = format!("it refuses, for {why:?}; its log:\n{}", sidecar.log());
    let trouble = || check(site).1["configuration_trouble"].as_str().unwrap_or_default().to_owned();
    until(&what, async || trouble().contains(why)).await;
    let (code, report) = check(site);
    assert_eq!((code, &report["degraded"]), (0, &true.into()), "{report}");
    sidecar.says("the one before stays in force").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_leased_what_is_gone_is_given_back_and_the_files_are_swapped_at_once() {
    let (site, daemon) = broker("10m").await;
    let first =
        config(&["db", "key"], &[("db", "{{ secrets.db.value }}"), ("key", "{{ secrets.key.value }}")]);
    let mut sidecar = Sidecar::start(&site, &first);
    until("it is ready", async || check(&site).0 == 0).await;
    let held = lease(&site, "db").unwrap();
    let generation = || fs::read_link(site.path("files/..data")).unwrap();
    let before = generation();
    assert_eq!(live(&site).await, ["prod/payments/db", "prod/payments/key"]);

    // One stays, one goes, one comes; a file of each.
    let files = [("db", "{{ secrets.db.value }}!"), ("more", "{{ secrets.more.value }}")];
    sidecar.reconfigure(&site, &config(&["db", "more"], &files));
    edition(&site, 1).await;
    until("the files are others", async || generation() != before).await;
    assert_eq!(generation().to_str(), Some("..generation-2"), "they came at once");
    assert_eq!(names(&site), ["db", "more"].map(str::to_owned).into());
    assert_eq!(read(&site, "db").as_deref(), Some("canary-of-db!"));
    assert_eq!(read(&site, "more").as_deref(), Some("canary-of-more"));
    assert_eq!(lease(&site, "db"), Some(held.clone()), "what stays keeps its lease");
    let socket = site.path("run/s.sock");
    assert_eq!(get(&socket, "/v1/secrets/key").unwrap().status, 404, "nobody is told what is gone");
    assert_eq!(get(&socket, "/v1/secrets/more").unwrap().status, 200);
    until("what is gone is given back", async || {
        live(&site).await == ["prod/payments/db", "prod/payments/more"]
    })
    .await;

    // The same name for another secret: it is leased before the other is given back.
    sidecar.reconfigure(&site, &config(&["db=key"], &[("db", "{{ secrets.db.value }}")]));
    edition(&site, 2).await;
    until("it is in the file", async || read(&site, "db").as_deref() == Some("canary-of-key")).await;
    assert_ne!(lease(&site, "db"), Some(held));
    until("the others are given back", async || live(&site).await == ["prod/payments/key"]).await;
    let operator = daemon::operator(&site).await.operator();
    rotate(&operator, &path("key")).await;
    assert_ne!(read(&site, "db").as_deref(), Some("canary-of-key"), "it is followed as from the start");

    // Nothing has changed: nobody notices.
    let before = generation();
    sidecar.signal(rustix::process::Signal::HUP);
    edition(&site, 3).await;
    rotate(&operator, &path("key")).await;
    let number = |link: PathBuf| -> u64 {
        link.to_str().and_then(|name| name.strip_prefix("..generation-")).unwrap().parse().unwrap()
    };
    assert_eq!(number(generation()), number(before) + 1, "the rotation alone has made other files");
    assert!(sidecar.stop().await.success());
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_in_force_changes_nothing_and_says_why() {
    let (site, daemon) = broker("10m").await;
    let good = config(&["db"], &[("db", "{{ secrets.db.value }}")]);
    let mut sidecar = Sidecar::start(&site, &good);
    until("it is ready", async || check(&site).0 == 0).await;
    let held = lease(&site, "db").unwrap();

    // Of each kind, in its turn: faulty, without a secret, waiting for one, failing with the value, and for the next start.
    let stranger = config(&["db"], &[("db", "{{ secrets.bd.value }}")]);
    let denied = format!("{good}[[secret]]\nname = \"x\"\npath = \"prod/orders/x\"\n");
    let fieldless = config(&["db", "key"], &[("db", "{{ secrets.key.password }}")]);
    for (text, why) in [
        ("adresses = 1\n".to_owned(), "unknown key `adresses`"),
        (stranger, "there is no [[secret]] of that name: did you mean `db`?"),
        (denied, "`x` cannot be leased, and is tried again"),
        (fieldless, "password"),
        (
            good.replace("run/h.sock", "run/other.sock"),
            "[health] cannot change while the sidecar runs: restart it",
        ),
        (good.replace("\"files\"", "\"elsewhere\""), "`dir` of [files] cannot change"),
    ] {
        sidecar.reconfigure(&site, &text);
        refused(&site, &sidecar, why).await;
        assert_eq!(check(&site).1["configuration"], 0);
        assert_eq!(names(&site), ["db".to_owned()].into(), "{why}");
        assert_eq!(lease(&site, "db").as_ref(), Some(&held), "{why}");
    }
    // What was leased for one that is not taken over is given back, and what is in force goes on.
    until("nothing else is held", async || live(&site).await == ["prod/payments/db"]).await;
    let operator = daemon::operator(&site).await.operator();
    rotate(&operator, &path("db")).await;
    assert_ne!(read(&site, "db").as_deref(), Some("canary-of-db"));

    // A good one puts an end to it.
    sidecar.reconfigure(&site, &config(&["db"], &[("other", "{{ secrets.db.value }}")]));
    edition(&site, 1).await;
    until("it is well", async || check(&site).1["degraded"] == false).await;
    until("the files are others", async || names(&site) == ["other".to_owned()].into()).await;
    assert!(sidecar.stop().await.success());
    assert!(!sidecar.log().contains("canary"), "{}", sidecar.log());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_of_changes_is_told_as_the_newest_configuration_says() {
    let (site, daemon) = broker("10m").await;
    let tell = |name: &str| {
        let told = site.path("told").join(name);
        let program = program(&site, name, &format!("echo \"$LEASEHOLD_CHANGED\" >> {}", told.display()));
        format!("[[on_change]]\ncommand = \"{}\"\ndebounce = \"0s\"\n\n", program.display())
    };
    fs::create_dir(site.path("told")).unwrap();
    let told = |name: &str| fs::read_to_string(site.path("told").join(name)).unwrap_or_default();
    let (one, two, three) = (tell("one"), tell("two"), tell("three"));
    let files = [("db", "{{ secrets.db.value }}")];
    let mut sidecar = Sidecar::start(&site, &format!("{}{one}{two}", config(&["db", "key"], &files)));
    until("it is ready", async || check(&site).0 == 0).await;

    // The secret that goes is a change, and its lease waits for who is told of it.
    sidecar.reconfigure(&site, &format!("{}{two}{three}", config(&["db"], &files)));
    edition(&site, 1).await;
    until("they are told", async || told("two") == "key\n" && told("three") == "key\n").await;
    until("it is given back", async || live(&site).await == ["prod/payments/db"]).await;
    let operator = daemon::operator(&site).await.operator();
    ask(&operator, &path("db")).await;
    until("they are told again", async || told("two") == "key\ndb\n" && told("three") == "key\ndb\n").await;
    assert_eq!(told("one"), "", "who is not in it any more hears of nothing");
    assert!(sidecar.stop().await.success());
    daemon.stop().await;
}
