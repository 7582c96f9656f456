//! Orphans: what programs leave behind comes to the init of a container, or to whoever says that it takes it, and is buried
//! there.

use std::fs;

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::child::awaited;

/// Takes the place of init for everything that is started from here (`PR_SET_CHILD_SUBREAPER`; process 1 has it anyway),
/// and buries what nobody waits for until the answer is dropped. Every child of this process must be a [`Child`].
///
/// [`Child`]: crate::Child
///
/// # Errors
/// When the system lets nobody hear of children that ended.
pub fn adopt_orphans() -> std::io::Result<AbortOnDropHandle<()>> {
    if getpid().as_raw_pid() != 1
        && let Err(error) = set_child_subreaper(Some(getpid()))
    {
        warn!(%error, "what programs leave behind goes to this machine's init");
    }
    let mut ended = signal(SignalKind::child())?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        while ended.recv().await.is_some() {
            bury();
        }
    })))
}

/// Waits for every child that has ended and that nobody else waits for.
fn bury() {
    let awaited = awaited();
    for pid in children().filter(|pid| !awaited.contains(pid)).filter_map(Pid::from_raw) {
        // Those that live are left alone; who has been buried meanwhile is nobody's child.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// This process's children, those that have ended among them.
fn children() -> impl Iterator<Item = i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let listed: Result<Vec<String>, _> =
        tasks.map(|task| fs::read_to_string(task.path().join("children"))).collect();
    match listed {
        Ok(lists) => numbers(&lists.join(" ")),
        // A thread has just ended, or the kernel keeps no such list (CONFIG_PROC_CHILDREN).
        Err(_) => among_all(),
    }
    .into_iter()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The same, by asking every process for its parent.
fn among_all() -> Vec<i32> {
    let own = getpid().as_raw_pid();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent(*pid) == Some(own)).collect()
}

/// `proc_pid_stat(5)`: the parent is the second field after the name, which is in brackets and may have any in it.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_found_by_the_list_and_by_its_parent() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children().any(|found| found == pid));
        assert!(among_all().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!among_all().contains(&pid));
    }
}
