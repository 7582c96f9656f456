//! A server as a process of its own: ready when it says so, and never outliving its test.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use super::{PeerError, find};

/// A running program, ended when dropped, or when the test's process is.
pub struct Peer {
    child: Child,
    /// The line by which it said that it is ready.
    ready: String,
    output: Output,
    ending: Ending,
}

/// How a program is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// At once.
    Kill,
    /// By the signal that makes it end at once and tidy up: PostgreSQL gives its shared memory back then.
    Quit,
}

/// What a program has printed so far, of either kind.
type Output = Arc<Mutex<String>>;

/// Python takes this long on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that is kept of what a program prints.
const KEPT: usize = 4 * 1024 * 1024;

impl Peer {
    /// Starts a program and waits until a line of its output, of either kind, contains `ready`.
    ///
    /// # Errors
    /// When it does not start, or ends before it is ready.
    pub async fn start(
        program: &'static str,
        command: Command,
        ready: &'static str,
    ) -> Result<Self, PeerError> {
        Self::start_ending(program, command, ready, Ending::Kill).await
    }

    pub(super) async fn start_ending(
        program: &'static str,
        command: Command,
        ready: &'static str,
        ending: Ending,
    ) -> Result<Self, PeerError> {
        let failed = |why: &dyn std::fmt::Display| PeerError::NotStarted(program, why.to_string());
        let output = Output::default();
        let (say_child, child) = oneshot::channel();
        let (say_ready, said) = oneshot::channel();
        let log = Arc::clone(&output);
        // The death of the starting thread is what a parent's death signal goes by: this one lives as long as the
        // program, as it also reads what it prints, lest a full pipe stop it.
        std::thread::spawn(move || {
            let reader = match spawn(&command, ending) {
                Ok((child, reader)) => {
                    if let Err(Ok(mut child)) = say_child.send(Ok(child)) {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                    reader
                }
                Err(error) => {
                    let _ = say_child.send(Err(error));
                    return;
                }
            };
            watch(reader, &log, ready, say_ready);
        });
        let mut child = match child.await {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&"its thread is gone")),
        };
        let outcome = match tokio::time::timeout(PATIENCE, said).await {
            Ok(Ok(line)) => return Ok(Self { child, ready: line, output, ending }),
            Ok(Err(_)) => format!("it ended, saying {}", read(&output)),
            Err(_) => format!("it is not ready in time; it said {}", read(&output)),
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(failed(&outcome))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The line by which it said that it is ready.
    pub fn ready(&self) -> &str {
        &self.ready
    }

    /// What it has printed so far, of either kind; the latest of it when that is much.
    pub fn output(&self) -> String {
        read(&self.output)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.ending == Ending::Quit
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::QUIT);
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Starts it, both its outputs in one pipe.
fn spawn(command: &Command, ending: Ending) -> io::Result<(Child, io::PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    // The command keeps the pipe's other end open; it is dropped here, or the reader would never see the program's end.
    let child = bound_to_us(command, ending).stdin(Stdio::null()).stdout(writer).stderr(errors).spawn()?;
    Ok((child, reader))
}

/// The same command, ended by the system when its parent dies, if `setpriv` is there to ask for that.
fn bound_to_us(command: &Command, ending: Ending) -> Command {
    let mut bound = match find("setpriv") {
        Ok(setpriv) => {
            let mut bound = Command::new(setpriv);
            bound.args(["--pdeathsig", if ending == Ending::Quit { "QUIT" } else { "KILL" }, "--"]);
            bound.arg(command.get_program());
            bound
        }
        Err(_) => Command::new(command.get_program()),
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

/// Reads what a program prints until it ends, and says when it is ready.
fn watch(reader: io::PipeReader, log: &Output, ready: &str, say: oneshot::Sender<String>) {
    let mut say = Some(say);
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).into_owned();
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() > KEPT {
                log.clear();
            }
            log.push_str(&text);
        }
        if text.contains(ready)
            && let Some(say) = say.take()
        {
            let _ = say.send(text.trim_end().to_owned());
        }
        line.clear();
    }
}

fn read(output: &Output) -> String {
    output.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_peer_is_ready_when_it_says_so_and_gone_when_dropped() {
        let command = shell("echo starting; echo ready on 7 >&2; exec cat /dev/zero >/dev/null");
        let peer = Peer::start("sh", command, "ready").await.unwrap();
        assert_eq!(peer.ready(), "ready on 7");
        assert_eq!(peer.output(), "starting\nready on 7\n");
        let process = PathBuf::from(format!("/proc/{}", peer.pid()));
        assert!(process.exists());
        drop(peer);
        assert!(!process.exists());
    }

    #[tokio::test]
    async fn a_peer_that_ends_says_why() {
        let error = Peer::start("sh", shell("echo no licence"), "ready").await.err().unwrap();
        assert!(error.to_string().contains("no licence"), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_prints_what_is_no_text_is_read_on() {
        let command = shell(r"printf '\377\376\n'; echo ready; exec cat /dev/zero >/dev/null");
        assert_eq!(Peer::start("sh", command, "ready").await.unwrap().ready(), "ready");
    }

    #[tokio::test]
    async fn a_peer_does_not_outlive_a_test_that_is_killed() {
        if find("setpriv").is_err() {
            return;
        }
        // A shell stands for the test: it starts a peer as this module would, says its number, and is killed.
        let inner = bound_to_us(&shell("echo peer $$; exec cat /dev/zero >/dev/null"), Ending::Kill);
        let mut words = vec![inner.get_program().to_string_lossy().into_owned()];
        words.extend(inner.get_args().map(|word| format!("'{}'", word.to_string_lossy())));
        let test = Peer::start("sh", shell(&format!("{} & wait", words.join(" "))), "peer ").await.unwrap();
        let number: i32 = test.ready().trim_start_matches("peer ").parse().unwrap();
        let process = PathBuf::from(format!("/proc/{number}"));
        assert!(process.exists());
        drop(test);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // Its new parent may be slow to collect it: a zombie is dead.
        while std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(tokio::time::Instant::now() < deadline, "process {number} lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
