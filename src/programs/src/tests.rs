//! Small programs that are stood in for.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, process::Command, time::sleep};

use super::*;

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

fn program(script: String) -> Program<impl FnMut() -> std::io::Result<Child>> {
    Program {
        launch: move || Child::start(&mut sh(&script), Group::Own, &[]),
        group: Group::Own,
        stop: SignalName::TERM,
        grace: Duration::from_millis(300),
        pace: Pace { most: 5, within: Duration::from_secs(600) },
    }
}

async fn written(file: &Path, lines: usize) -> Vec<String> {
    for _ in 0..1000 {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.matches('\n').count() >= lines {
            return text.lines().map(str::to_owned).collect();
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{} has no {lines} lines", file.display());
}

fn lives(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let zombie = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()))
        .is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(pid).is_ok() && !zombie
}

#[tokio::test]
async fn an_exit_code_comes_back_and_a_signal_as_shells_say_it() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)] {
        let (_controls, orders) = Controls::new();
        let outcome = supervise(program(script.to_owned()), orders).await.unwrap();
        assert_eq!((outcome.end.exit_code(), outcome.stopped), (code, false), "{script}");
    }
}

#[tokio::test]
async fn one_that_ignores_being_told_is_killed_with_what_it_started() {
    let folder = TempDir::new().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "trap '' TERM; /bin/sleep 1000 & echo $! >> {0}; echo $$ >> {0}; wait; wait; /bin/sleep 1000",
        pids.display()
    );
    let (controls, orders) = Controls::new();
    let running = tokio::spawn(supervise(program(script), orders));
    let pids = written(&pids, 2).await;
    assert!(pids.iter().all(|pid| lives(pid)));
    controls.stop().await;
    let outcome = running.await.unwrap().unwrap();
    assert_eq!(outcome, Outcome { end: End::Signal(9), stopped: true });
    assert!(!pids.iter().any(|pid| lives(pid)));
    assert_eq!(controls.restart().await, Err(Gone));
}

#[tokio::test]
async fn a_restart_ends_the_old_one_before_the_new_one_starts() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let script = format!(
        "trap 'echo end $$ >> {0}; exit 3' TERM; echo start $$ >> {0}; while :; do /bin/sleep 0.01; done",
        log.display()
    );
    let (controls, orders) = Controls::new();
    let running = tokio::spawn(supervise(program(script), orders));
    written(&log, 1).await;
    controls.restart().await.unwrap();
    let lines = written(&log, 3).await;
    let first = lines[0].strip_prefix("start ").unwrap();
    assert_eq!(lines[1], format!("end {first}"));
    assert!(lines[2].starts_with("start ") && !lines[2].ends_with(first), "{lines:?}");
    controls.stop().await;
    assert_eq!(running.await.unwrap().unwrap().end, End::Code(3));
}

#[tokio::test]
async fn a_descriptor_is_inherited_by_the_program_it_is_meant_for_and_by_no_other() {
    let memory = sealed("secrets", b"hunter2").unwrap();
    let number = memory.as_raw_fd();
    let read = async |inherited: bool| {
        let mut command = sh(&format!("cat /proc/self/fd/{number}"));
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let fds = [memory.as_fd()];
        let inherited = if inherited { &fds[..] } else { &[] };
        let mut child = Child::start(&mut command, Group::Own, inherited).unwrap();
        let mut said = String::new();
        child.stdout().unwrap().read_to_string(&mut said).await.unwrap();
        (child.wait().await.unwrap(), said)
    };
    assert_eq!(read(true).await, (End::Code(0), "hunter2".to_owned()));
    assert_ne!(read(false).await.0, End::Code(0), "it is closed again");
}

#[tokio::test]
async fn an_orphan_is_buried_and_a_child_is_left_to_who_waits_for_it() {
    let folder = TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let _adopting = adopt_orphans().unwrap();
    // Its grandchild is nobody's when it ends, and ends itself a little later.
    let script = format!("(/bin/sleep 0.2 & echo $! > {}); exit 7", pid.display());
    let mut child = Child::start(&mut sh(&script), Group::Shared, &[]).unwrap();
    assert_eq!(child.wait().await.unwrap(), End::Code(7));
    let orphan = written(&pid, 1).await.remove(0);
    for _ in 0..1000 {
        if !Path::new(&format!("/proc/{orphan}")).exists() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the orphan {orphan} is not buried");
}

#[test]
fn what_others_can_write_to_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("program");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    trusted(&file).unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(matches!(trusted(&file), Err(Untrusted::Writable(path)) if path == folder.path()));
    assert!(matches!(trusted(Path::new("program")), Err(Untrusted::Relative(_))));
}
