//! What is published, and what is done then.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use leasehold_core::{SecretValue, Timestamp};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::snapshot::Loan;

/// All of these held, with values that say their names and the generation.
pub(crate) fn snapshot(generation: u64, names: &[&str]) -> Arc<Snapshot> {
    let loan = |name: &str| {
        let value = SecretValue::plain(format!("value-of-{name}-{generation}"));
        let lease = "lease-aeaqcaibaeaqcaibaeaqcaibae".parse().unwrap();
        Arc::new(Loan::kept("prod/app/x".parse().unwrap(), lease, None, Timestamp::MAX, value))
    };
    let named = |name: &&str| -> Name { name.parse().unwrap() };
    Arc::new(Snapshot {
        generation,
        secrets: names.iter().map(|name| (named(name), loan(name))).collect(),
        wanted: names.iter().map(named).collect(),
        ..Snapshot::default()
    })
}

pub(crate) fn publish(generation: u64, names: &[&str], changed: &[&str]) -> Published {
    Published {
        first: generation == 1,
        changed: changed.iter().map(|name| name.parse().unwrap()).collect(),
        snapshot: snapshot(generation, names),
        edition: None,
    }
}

struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.file(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn command(&self, name: &str, body: &str) -> OnChange {
        let file = self.file(name);
        fs::write(&file, format!("#!/bin/sh\ncd {}\n{body}\n", self.folder.path().display())).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
        OnChange {
            only_for: Vec::new(),
            deed: Deed::Command {
                command: vec![file.to_str().unwrap().to_owned()],
                user: None,
                dir: None,
                input: Vec::new(),
            },
            timing: Timing { debounce: Duration::from_millis(50), splay: Duration::ZERO },
            settle: Duration::ZERO,
            timeout: Duration::from_secs(10),
            retries: 3,
            on_start: false,
        }
    }
}

type Switched = Arc<Mutex<Vec<(u64, String)>>>;

/// Waits until it is so, longer than anything takes; then says what there is instead.
async fn comes_to_be(is_so: impl Fn() -> bool, instead: impl Fn() -> String) {
    let deadline = Instant::now().checked_add(Duration::from_secs(20)).unwrap();
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", instead());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Publishes, and waits until the generation is switched as is told, or a moment longer than anything takes.
async fn scene(settings: Vec<OnChange>, news: Vec<Published>, until: (u64, &str)) -> (Switched, Standing) {
    let (publish, published) = mpsc::channel(8);
    let (standing, told) = watch::channel(Standing::default());
    let switched = Switched::default();
    let seen = switched.clone();
    let running = tokio::spawn(run(
        settings,
        published,
        move |snapshot| {
            let names: Vec<_> = snapshot.secrets.keys().map(ToString::to_string).collect();
            seen.lock().unwrap().push((snapshot.generation, names.join(" ")));
        },
        standing,
    ));
    for news in news {
        publish.send(news).await.unwrap();
    }
    let wanted = (until.0, until.1.to_owned());
    let is_over = || switched.lock().unwrap().contains(&wanted) || !told.borrow().given_up.is_empty();
    comes_to_be(is_over, || format!("{:?}", switched.lock().unwrap())).await;
    running.abort();
    let standing = told.borrow().clone();
    (switched, standing)
}

#[tokio::test]
async fn changes_that_come_together_are_told_once_by_name_and_never_by_value() {
    let site = Site::new();
    let mut command = site.command(
        "tell",
        "echo \"$LEASEHOLD_CHANGED $LEASEHOLD_GENERATION\" >> told; /usr/bin/env > env; /bin/cat > input",
    );
    if let Deed::Command { input, .. } = &mut command.deed {
        input.push("db".parse().unwrap());
    }
    let all = ["db", "key"];
    let news = vec![publish(1, &all, &all), publish(2, &all, &["db", "db.env"]), publish(3, &all, &["key"])];
    let (switched, standing) = scene(vec![command], news, (3, "db key")).await;
    assert_eq!(site.lines("told"), ["db db.env key 3"]);
    let input: serde_json::Value = serde_json::from_slice(&fs::read(site.file("input")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "changed": ["db", "db.env", "key"],
        "secrets": {"db": {"value": "value-of-db-3"}},
    });
    assert_eq!(input, expected);
    assert!(!fs::read_to_string(site.file("env")).unwrap().contains("value-of"));
    let switched = switched.lock().unwrap();
    assert_eq!(switched.first(), Some(&(1, "db key".to_owned())), "nobody is told of the first");
    assert!(switched.contains(&(2, "key".to_owned())), "{switched:?}");
    assert_eq!((standing.done, standing.failed), (1, 0));
}

#[tokio::test]
async fn only_who_is_concerned_is_told() {
    let site = Site::new();
    let mut one = site.command("one", "echo one >> told");
    one.only_for = vec!["db.env".parse().unwrap()];
    let mut other = site.command("other", "echo other >> told");
    other.only_for = vec!["key".parse().unwrap()];
    let all = ["db", "key"];
    let news = vec![publish(1, &all, &all), publish(2, &all, &["key", "key.pem"])];
    scene(vec![one, other], news, (2, "db key")).await;
    assert_eq!(site.lines("told"), ["other"]);
}

#[tokio::test]
async fn what_fails_is_tried_again_and_the_old_value_is_kept_meanwhile() {
    let site = Site::new();
    let flaky = site.command("flaky", "[ -e tried ] && exit 0; : > tried; exit 3");
    let news = vec![publish(1, &["db"], &["db"]), publish(2, &["db"], &["db"])];
    let (switched, standing) = scene(vec![flaky], news, (2, "db")).await;
    assert_eq!((standing.done, standing.failed), (1, 1));
    assert_eq!(*switched.lock().unwrap(), [(1, "db".to_owned()), (2, "db".to_owned())]);
}

#[tokio::test]
async fn what_is_given_up_is_told_and_nothing_counts_as_switched() {
    let site = Site::new();
    let mut broken = site.command("broken", "exit 3");
    broken.retries = 0;
    let news = vec![publish(1, &["db", "key"], &["db", "key"]), publish(2, &["db", "key"], &["db"])];
    let (switched, standing) = scene(vec![broken], news, (2, "db key")).await;
    assert!(standing.given_up[&0].contains("ended with the exit code 3"), "{standing:?}");
    assert_eq!(*switched.lock().unwrap(), [(1, "db key".to_owned()), (2, "key".to_owned())]);
}

/// The configuration read again, with these.
fn reread(number: u64, on_change: Vec<OnChange>) -> Arc<Edition> {
    let text = "[broker]\naddresses = 'b'\nidentity = 'i'\n[[secret]]\nname = 'db'\npath = 'prod/db'\n";
    let mut config = crate::Config::parse(&leasehold_config::Source::new("/etc/s.toml", text)).unwrap();
    config.on_change = on_change;
    Arc::new(Edition::new(number, config).unwrap())
}

/// Publishes a change that fails and is given up, and then nothing but another reading of the configuration; waits until the
/// generation is switched as is told.
async fn reread_after_a_failure(old: OnChange, new: Vec<OnChange>, until: (u64, &str)) -> Standing {
    let (publish_next, published) = mpsc::channel(8);
    let (standing, mut told) = watch::channel(Standing::default());
    let switched = Switched::default();
    let seen = switched.clone();
    let running = tokio::spawn(run(
        vec![old],
        published,
        move |snapshot| {
            let names: Vec<_> = snapshot.secrets.keys().map(ToString::to_string).collect();
            seen.lock().unwrap().push((snapshot.generation, names.join(" ")));
        },
        standing,
    ));
    let all = ["db", "key"];
    publish_next.send(publish(1, &all, &all)).await.unwrap();
    publish_next.send(publish(2, &all, &["db", "db.env"])).await.unwrap();
    let in_time = Duration::from_secs(20);
    let given_up = told.wait_for(|standing| !standing.given_up.is_empty());
    tokio::time::timeout(in_time, given_up).await.unwrap().unwrap();
    let edition = Some(reread(1, new));
    publish_next.send(Published { edition, ..publish(3, &all, &[]) }).await.unwrap();
    let wanted = (until.0, until.1.to_owned());
    let is_switched = || switched.lock().unwrap().contains(&wanted);
    comes_to_be(is_switched, || format!("{:?}", switched.lock().unwrap())).await;
    running.abort();
    told.borrow().clone()
}

#[tokio::test]
async fn what_somebody_owes_is_told_by_who_takes_their_place_and_switched_only_then() {
    let site = Site::new();
    let mut broken = site.command("broken", "exit 3");
    broken.retries = 0;
    let body =
        "[ -e tried ] || { : > tried; exit 3; }\necho \"$LEASEHOLD_CHANGED $LEASEHOLD_GENERATION\" >> told";
    let mended = site.command("mended", body);
    let mut other = site.command("other", "echo other >> told");
    other.only_for = vec!["key".parse().unwrap()];
    let standing = reread_after_a_failure(broken, vec![other, mended], (3, "db key")).await;
    assert_eq!(site.lines("told"), ["db db.env 3"], "who does not mind it is not told");
    assert_eq!((standing.done, standing.failed, standing.given_up.len()), (1, 2, 0));
}

#[tokio::test]
async fn a_command_that_runs_is_let_finish_before_the_one_in_its_place() {
    let site = Site::new();
    let old = ": > begun; until [ -e gate ]; do /bin/sleep 0.02; done; echo old >> told";
    let (old, new) = (site.command("old", old), site.command("new", "echo new >> told"));
    let all = ["db", "key"];
    let (publish_next, published) = mpsc::channel(1);
    let (standing, mut told) = watch::channel(Standing::default());
    let running = tokio::spawn(run(vec![old], published, |_| {}, standing));
    publish_next.send(publish(1, &all, &all)).await.unwrap();
    publish_next.send(publish(2, &all, &["db"])).await.unwrap();
    comes_to_be(|| site.file("begun").exists(), || "it is not run".to_owned()).await;
    let edition = Some(reread(1, vec![new]));
    publish_next.send(Published { edition, ..publish(3, &all, &[]) }).await.unwrap();
    // Room for the second of these there is when what came before them has been seen to.
    for generation in [4, 5] {
        publish_next.send(publish(generation, &all, &[])).await.unwrap();
    }
    fs::write(site.file("gate"), "").unwrap();
    let both = told.wait_for(|standing| standing.done == 2);
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap().unwrap();
    assert_eq!(site.lines("told"), ["old", "new"]);
    running.abort();
}

#[tokio::test]
async fn what_nobody_minds_any_more_is_not_waited_for() {
    let site = Site::new();
    let mut broken = site.command("broken", "exit 3");
    broken.retries = 0;
    let mut other = site.command("other", "echo other >> told");
    other.only_for = vec!["key".parse().unwrap()];
    let standing = reread_after_a_failure(broken, vec![other], (3, "db key")).await;
    assert_eq!(site.lines("told"), [""; 0]);
    assert!(standing.given_up.is_empty(), "{standing:?}");
}

#[tokio::test]
async fn the_next_change_is_told_with_what_was_given_up_before_it() {
    let site = Site::new();
    let mut flaky = site.command("flaky", "[ -e mended ] || exit 3\necho \"$LEASEHOLD_CHANGED\" >> told");
    flaky.retries = 0;
    let all = ["db", "key"];
    let (publish_next, published) = mpsc::channel(8);
    let (standing, mut told) = watch::channel(Standing::default());
    let running = tokio::spawn(run(vec![flaky], published, |_| {}, standing));
    publish_next.send(publish(1, &all, &all)).await.unwrap();
    publish_next.send(publish(2, &all, &["db"])).await.unwrap();
    told.wait_for(|standing| !standing.given_up.is_empty()).await.unwrap();
    fs::write(site.file("mended"), "").unwrap();
    publish_next.send(publish(3, &all, &["key"])).await.unwrap();
    told.wait_for(|standing| standing.done == 1).await.unwrap();
    assert_eq!(site.lines("told"), ["db key"]);
    running.abort();
}

#[tokio::test]
async fn one_is_done_at_a_time_and_at_the_start_where_that_is_asked_for() {
    let site = Site::new();
    let body = "mkdir busy || echo clash >> told; /bin/sleep 0.2; rmdir busy; echo \"$0\" >> told";
    let mut one = site.command("one", body);
    let mut other = site.command("other", body);
    one.on_start = true;
    other.on_start = true;
    scene(vec![one, other], vec![publish(1, &["db"], &["db"])], (1, "db")).await;
    let told = site.lines("told");
    assert!(told.len() == 2 && !told.contains(&"clash".to_owned()), "{told:?}");
}
