//! A program that is run with its secrets.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    rotations::rotate,
    site::Site,
    wait::until,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::{
    container::{as_init, children},
    kit::{Sidecar, live, path, site},
};

const FIRST: &str = "canary-of-the-first-3c55";
/// In its environment, in a file and on a descriptor.
const CONFIG: &str = r#"
[[secret]]
name = "db"
path = "prod/payments/db"

[files]
dir = "run"

[[file]]
name = "password"
secret = "db"
field = "value"

[exec]
fd = "db"
grace = "1s"
debounce = "0s"
start_timeout = "2s"

[exec.environment]
DB = "db/value"
"#;

/// `leasehold-sidecar exec` around a shell that is in the site's folder.
fn exec(site: &Site, script: &str) -> Command {
    let mut command = Sidecar::command(site, "exec");
    command.args(["--", "sh", "-c", &format!("cd {}; {script}", site.path("").display())]);
    // Is for the sidecar and not for the program.
    command.env("LEASEHOLD_KEY", "canary-of-our-own");
    command
}

async fn lines(site: &Site, count: usize) -> Vec<String> {
    let file: PathBuf = site.path("program.log");
    let read = || fs::read_to_string(&file).unwrap_or_default();
    until(&format!("the program says {count} lines"), async || read().matches('\n').count() >= count).await;
    read().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_what_is_new_after_a_rotation_and_its_exit_code_is_the_sidecars() {
    let site = site(&["db"], "10m");
    Sidecar::configure(&site, CONFIG);
    // Without a broker there is nothing to start it with.
    let mut early = Sidecar::spawn(&site, exec(&site, "echo started >> program.log"));
    assert_eq!(early.ended().await.code(), Some(124));
    assert!(early.log().contains("did not come within 2s"), "{}", early.log());
    assert!(!site.path("program.log").exists());

    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    let script = "echo \"start $DB $(cat run/password) $(cat /proc/self/fd/$LEASEHOLD_SECRETS_FD) ${LEASEHOLD_KEY-none}\" >> program.log; \
                  umask >> program.log; trap 'echo term >> program.log; exit 7' TERM; \
                  trap 'echo usr1 >> program.log' USR1; trap 'echo hup >> program.log' HUP; while :; do sleep 0.05; done";
    let mut sidecar = Sidecar::spawn(&site, exec(&site, script));
    let said = lines(&site, 2).await;
    assert_eq!(said[0], format!("start {FIRST} {FIRST} {{\"db\":{{\"value\":\"{FIRST}\"}}}} none"));
    assert_ne!(said[1], "0077", "the sidecar's own mask is not for the program");

    // It is over when nobody holds the old version any more: the program was started again before.
    let operator = daemon::operator(&site).await.operator();
    rotate(&operator, &path("db")).await;
    let said = lines(&site, 5).await;
    assert_eq!(said[2], "term");
    let new = said[3].split(' ').nth(1).unwrap();
    assert_ne!(new, FIRST);
    assert_eq!(said[3], format!("start {new} {new} {{\"db\":{{\"value\":\"{new}\"}}}} none"));

    sidecar.signal(Signal::USR1);
    assert_eq!(lines(&site, 6).await[5], "usr1");
    // Also what makes a sidecar without a program read its configuration again.
    sidecar.signal(Signal::HUP);
    assert_eq!(lines(&site, 7).await[6], "hup");
    assert_eq!(sidecar.stop().await.code(), Some(7), "{}", sidecar.log());
    until("the lease is given back", async || live(&site).await.is_empty()).await;
    assert!(!sidecar.log().contains(FIRST) && !sidecar.log().contains(new), "a value in the log");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_init_it_buries_orphans_and_kills_what_ignores_being_told() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    Sidecar::configure(&site, CONFIG);
    // Its grandchildren are nobody's, and end before it looks for the dead.
    let script = "trap '' TERM; for n in 1 2 3; do (sleep 0.2 &); done; sleep 1; \
                  echo \"$(cat /proc/1/comm) $(cat /proc/[0-9]*/stat | grep -c ') Z ')\" >> program.log; \
                  sleep 1000 & echo ready >> program.log; while :; do sleep 0.05; done";
    let program = exec(&site, script);
    let inside = as_init(&program);
    let is_init = inside.is_some();
    let command = inside.unwrap_or(program);
    let mut sidecar = Sidecar::spawn(&site, command);
    let said = lines(&site, 2).await;
    if is_init {
        assert_eq!(said[0], "leasehold-sidec 0");
    } else {
        // Where it is not process 1 it takes that place for its own, and /proc has others' dead.
        eprintln!("this system gives nobody a process namespace: tried without one");
    }
    let told = if is_init { children(sidecar.id())[0] } else { i32::try_from(sidecar.id()).unwrap() };
    kill_process(Pid::from_raw(told).unwrap(), Signal::TERM).unwrap();
    assert_eq!(sidecar.ended().await.code(), Some(137), "{}", sidecar.log());
    assert!(sidecar.log().contains("did not end in its time and is killed"), "{}", sidecar.log());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lends_a_program_a_secret_for_as_long_as_it_lives() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    let leasehold = |words: &[&str]| {
        let mut command = Command::new(binaries::leasehold());
        command.args(["lease", "exec", "prod/payments/db", "--addr", &site.address.to_string()]);
        command.args(["--cert"]).arg(site.path("tls/workload.pem"));
        command.args(["--key"]).arg(site.path("tls/workload.key"));
        command.args(["--ca"]).arg(site.path("tls/clients.pem"));
        command.env("LEASEHOLD_TIMEOUT", "x").args(words);
        command
    };
    let ran = leasehold(&["--", "sh", "-c", "echo $DB_VALUE; env | grep -c ^LEASEHOLD_; exit 42"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{FIRST}\n0\n"), "{ran:?}");
    assert_eq!(ran.status.code(), Some(42));
    assert!(live(&site).await.is_empty(), "it was given back");

    let ran =
        leasehold(&["--fd", "--", "sh", "-c", "cat /proc/self/fd/$LEASEHOLD_SECRETS_FD; kill -TERM $$"]);
    let ran = { ran }.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{{\"value\":\"{FIRST}\"}}"));
    assert_eq!(ran.status.code(), Some(143));
    let missing = leasehold(&["--env", "X=password", "--", "true"]).output().unwrap();
    assert_ne!(missing.status.code(), Some(0));
    assert_eq!(leasehold(&["--", "no-such-program"]).output().unwrap().status.code(), Some(127));

    // A rotation brings the program what is new, and waits for that.
    let script = format!(
        "echo $DB_VALUE >> {}; trap 'exit 0' TERM; while :; do sleep 0.05; done",
        site.path("program.log").display()
    );
    let mut running = leasehold(&["--on-change", "restart", "--", "sh", "-c", &script]).spawn().unwrap();
    assert_eq!(lines(&site, 1).await, [FIRST]);
    rotate(&daemon::operator(&site).await.operator(), &path("db")).await;
    assert_ne!(lines(&site, 2).await[1], FIRST);
    kill_process(Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(live(&site).await.is_empty());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_crashes_leaves_no_core_with_a_value() {
    let site = site(&["db"], "10m");
    let broker = Daemon::start(&site).await;
    daemon::put(&site, "prod/payments/db", FIRST).await;
    let most = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: most, maximum: most }).unwrap();
    let other = Command::new("sh").args(["-c", "kill -ABRT $$"]).current_dir(site.path(".")).status();
    if !other.unwrap().core_dumped() {
        eprintln!("this system dumps nobody's core: it is seen here that it does not dump ours either");
    }
    let script = format!("echo $DB_VALUE >> {}; exec sleep 2", site.path("program.log").display());
    let mut command = site.leasehold("workload");
    command
        .args(["lease", "exec", "prod/payments/db", "--", "sh", "-c", &script])
        .current_dir(site.path("."));
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(lines(&site, 1).await, [FIRST]);
    kill_process(Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap(), Signal::ABORT).unwrap();
    let ended = running.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
    broker.stop().await;
}
