//! Small programs that are run with secrets.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use leasehold_core::{SecretValue, Timestamp};
use leasehold_programs::Pace;
use tempfile::TempDir;

use super::*;
use crate::{
    act::tests::{publish, snapshot},
    config::{exec::Part, on_change::Timing},
    snapshot::{Loan, Standing},
};

fn settings(on_change: OnProgramChange) -> Exec {
    let part = Part { secret: "db".parse().unwrap(), field: Some("value".parse().unwrap()) };
    Exec {
        environment: vec![("DB".to_owned(), part)],
        fd: vec!["db".parse().unwrap()],
        inherit: Vec::new(),
        user: None,
        on_change,
        timing: Timing { debounce: Duration::ZERO, splay: Duration::ZERO },
        stop_signal: leasehold_programs::SignalName::TERM,
        grace: Duration::from_millis(500),
        pace: Pace { most: 5, within: Duration::from_secs(60) },
        expired: ProgramExpired::Keep,
        start_timeout: Some(Duration::from_secs(20)),
    }
}

struct Scene {
    folder: TempDir,
    settings: Exec,
    script: String,
}

type Switched = Arc<Mutex<Vec<(u64, Vec<String>)>>>;

/// A program that is run, and what it can be told.
struct Running {
    publish: mpsc::Sender<Published>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    switched: Switched,
    code: tokio::task::JoinHandle<u8>,
}

impl Scene {
    fn new(on_change: OnProgramChange, script: &str) -> Self {
        Self { folder: TempDir::new().unwrap(), settings: settings(on_change), script: script.to_owned() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Running {
        let (publish, published) = mpsc::channel(8);
        let (snapshots, held) = watch::channel(Arc::default());
        let (standing, _) = watch::channel(act::Standing::default());
        let script = format!("cd {}; {}", self.folder.path().display(), self.script);
        let run = Run {
            settings: self.settings.clone(),
            program: vec!["sh".into(), "-c".into(), script.into()],
            on_change: Vec::new(),
            published,
            snapshots: held,
            standing,
        };
        let switched = Switched::default();
        let seen = switched.clone();
        let code = tokio::spawn(run.run(move |snapshot| {
            let names = snapshot.secrets.keys().map(ToString::to_string).collect();
            seen.lock().unwrap().push((snapshot.generation, names));
        }));
        Running { publish, snapshots, switched, code }
    }
}

async fn lines(file: &Path, count: usize) -> Vec<String> {
    for _ in 0..1000 {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.matches('\n').count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{} has no {count} lines", file.display());
}

#[tokio::test]
async fn a_program_has_the_secrets_in_its_environment_and_on_a_descriptor_and_nothing_of_ours() {
    let scene = Scene::new(
        OnProgramChange::Restart,
        "echo \"$DB\" > env; cat /proc/self/fd/$LEASEHOLD_SECRETS_FD > fd; env | grep -c '^LEASEHOLD_' > ours; exit 23",
    );
    let running = scene.start();
    running.publish.send(publish(1, &["db"], &["db"])).await.unwrap();
    assert_eq!(running.code.await.unwrap(), 23);
    assert_eq!(lines(&scene.file("env"), 1).await, ["value-of-db-1"]);
    assert_eq!(fs::read_to_string(scene.file("fd")).unwrap(), r#"{"db":{"value":"value-of-db-1"}}"#);
    assert_eq!(lines(&scene.file("ours"), 1).await, ["1"], "the descriptor's number");
}

const LOOP: &str = "echo \"$DB\" >> log; trap 'exit 7' TERM; while :; do sleep 0.01; done";

#[tokio::test]
async fn on_a_change_it_is_started_again_and_only_then_is_the_new_value_used() {
    let scene = Scene::new(OnProgramChange::Restart, LOOP);
    let running = scene.start();
    running.publish.send(publish(1, &["db"], &["db"])).await.unwrap();
    lines(&scene.file("log"), 1).await;
    running.publish.send(publish(2, &["db"], &["db"])).await.unwrap();
    assert_eq!(lines(&scene.file("log"), 2).await, ["value-of-db-1", "value-of-db-2"]);
    let both = [(1, vec!["db".to_owned()]), (2, vec!["db".to_owned()])];
    for _ in 0..100 {
        if running.switched.lock().unwrap().len() == 2 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*running.switched.lock().unwrap(), both);
}

#[tokio::test]
async fn a_storm_of_changes_is_damped_and_the_old_one_runs_on() {
    let mut scene = Scene::new(OnProgramChange::Restart, LOOP);
    scene.settings.pace = Pace { most: 2, within: Duration::from_secs(600) };
    let running = scene.start();
    running.publish.send(publish(1, &["db"], &["db"])).await.unwrap();
    for generation in 2..=6 {
        // The first restart is at once, the second a second later, and the third in ten minutes.
        lines(&scene.file("log"), if generation == 2 { 1 } else { 2 }).await;
        running.publish.send(publish(generation, &["db"], &["db"])).await.unwrap();
    }
    let said = lines(&scene.file("log"), 3).await;
    assert_eq!(said, ["value-of-db-1", "value-of-db-2", "value-of-db-6"], "what is newest then");
    running.publish.send(publish(7, &["db"], &["db"])).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(lines(&scene.file("log"), 3).await.len(), 3);
    assert!(!running.code.is_finished());
}

#[tokio::test]
async fn who_does_nothing_keeps_what_it_had() {
    let scene = Scene::new(OnProgramChange::Nothing, LOOP);
    let running = scene.start();
    running.publish.send(publish(1, &["db", "key"], &["db", "key"])).await.unwrap();
    lines(&scene.file("log"), 1).await;
    running.publish.send(publish(2, &["db", "key"], &["db", "key"])).await.unwrap();
    for _ in 0..1000 {
        if running.switched.lock().unwrap().len() == 2 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(running.switched.lock().unwrap()[1], (2, vec!["key".to_owned()]));
    assert_eq!(lines(&scene.file("log"), 1).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_given_leaves_the_program_as_it_is() {
    let scene = Scene::new(OnProgramChange::Restart, LOOP);
    let running = scene.start();
    running.publish.send(publish(1, &["db"], &["db"])).await.unwrap();
    lines(&scene.file("log"), 1).await;
    running.publish.send(publish(2, &["other"], &["db"])).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert!(!running.code.is_finished());
    assert_eq!(lines(&scene.file("log"), 1).await.len(), 1);
}

#[tokio::test]
async fn a_lease_that_has_ended_ends_the_program_where_that_is_asked_for() {
    let mut scene = Scene::new(OnProgramChange::Restart, LOOP);
    scene.settings.expired = ProgramExpired::Stop;
    let running = scene.start();
    running.publish.send(publish(1, &["db"], &["db"])).await.unwrap();
    lines(&scene.file("log"), 1).await;
    let mut expired = Snapshot::clone(&snapshot(2, &["db"]));
    let lease = "lease-aeaqcaibaeaqcaibaeaqcaibae".parse().unwrap();
    let value = SecretValue::plain("x".to_owned());
    let mut loan = Loan::kept("prod/app/x".parse().unwrap(), lease, None, Timestamp::MIN, value);
    loan.standing = Standing::Expired;
    expired.secrets.insert("db".parse().unwrap(), Arc::new(loan));
    running.snapshots.send_replace(Arc::new(expired));
    assert_eq!(running.code.await.unwrap(), Exit::NoSecrets as u8);
}

#[tokio::test(start_paused = true)]
async fn without_secrets_it_is_not_started() {
    let scene = Scene::new(OnProgramChange::Restart, "touch started");
    let running = scene.start();
    assert_eq!(running.code.await.unwrap(), Exit::NoSecrets as u8);
    assert!(!scene.file("started").exists());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_by_its_code() {
    let scene = Scene::new(OnProgramChange::Restart, "");
    for (program, code) in [("no-such-program", 127), ("/dev/null", 126)] {
        let (publish_to, published) = mpsc::channel(8);
        let (_snapshots, held) = watch::channel(Arc::default());
        let (standing, _) = watch::channel(act::Standing::default());
        let run = Run {
            settings: scene.settings.clone(),
            program: vec![program.into()],
            on_change: Vec::new(),
            published,
            snapshots: held,
            standing,
        };
        publish_to.send(publish(1, &["db"], &["db"])).await.unwrap();
        assert_eq!(run.run(|_| ()).await, code, "{program}");
    }
}
