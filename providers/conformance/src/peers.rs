//! Starts the real servers that tests talk to, on free ports, and stops them by their process ids.
//!
//! Their programs are found in `$LEASEHOLD_PEERS` (a directory of programs), in `target/peers/bin`, or on the `PATH`;
//! the project's own script installs them, pinned.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::oneshot;

/// A running program, killed when dropped.
pub struct Peer {
    child: Child,
    /// The line by which it said that it is ready.
    ready: String,
}

/// A `moto_server`: AWS's APIs, kept in memory.
pub struct Moto {
    _peer: Peer,
    url: String,
}

/// Why a peer does not run.
#[derive(Debug, Error)]
pub enum PeerError {
    /// It is not on this machine.
    #[error(
        "{0} not available: run ./tests/peers/install, or set LEASEHOLD_PEERS to the directory that it is in"
    )]
    NotInstalled(&'static str),
    /// It is, and does not come up.
    #[error("{0} does not start: {1}")]
    NotStarted(&'static str, String),
}

/// Python takes this long on a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a peer's program is.
///
/// # Errors
/// When it is nowhere.
pub fn find(program: &'static str) -> Result<PathBuf, PeerError> {
    let named = env::var_os("LEASEHOLD_PEERS").map(PathBuf::from);
    let start = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(|| env::current_dir().ok());
    let built = start
        .into_iter()
        .flat_map(|start| start.ancestors().map(|at| at.join("target/peers/bin")).collect::<Vec<_>>());
    let path = env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(built)
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(PeerError::NotInstalled(program))
}

/// `None`, said loudly, when a peer is not on this machine; so a test can end without having tested.
///
/// # Errors
/// When the peer is broken, or when `CI` is set: there, nothing is skipped.
pub fn or_skip<T>(started: Result<T, PeerError>) -> Result<Option<T>, PeerError> {
    let judged = judge(started, env::var_os("CI").is_some());
    if let Ok(Err(missing)) = &judged {
        // Not through the test harness's capture: a skipped test must be seen.
        let _ = writeln!(io::stderr().lock(), "\nskipped: {missing}\n");
    }
    judged.map(Result::ok)
}

/// The peer, or why its tests may be skipped, or why they fail.
fn judge<T>(started: Result<T, PeerError>, ci: bool) -> Result<Result<T, PeerError>, PeerError> {
    match started {
        Err(PeerError::NotInstalled(_)) if !ci => Ok(started),
        Err(error) => Err(error),
        Ok(_) => Ok(started),
    }
}

impl Peer {
    /// Starts a program and waits until a line of its output, of either kind, contains `ready`.
    ///
    /// # Errors
    /// When it does not start, or ends before it is ready.
    pub async fn start(
        program: &'static str,
        mut command: Command,
        ready: &'static str,
    ) -> Result<Self, PeerError> {
        let failed = |why: &dyn std::fmt::Display| PeerError::NotStarted(program, why.to_string());
        let (reader, writer) = io::pipe().map_err(|error| failed(&error))?;
        let errors = writer.try_clone().map_err(|error| failed(&error))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed(&error))?;
        // The command keeps the pipe's other end open; without it the reader sees the program's end.
        drop(command);
        let (say, said) = oneshot::channel();
        std::thread::spawn(move || {
            let mut say = Some(say);
            let mut before = String::new();
            // Read on after that: a full pipe would stop the program.
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if say.is_some() {
                    before = format!("{before}\n{line}");
                    if line.contains(ready)
                        && let Some(say) = say.take()
                    {
                        let _ = say.send(Ok(line));
                    }
                }
            }
            if let Some(say) = say {
                let _ = say.send(Err(before));
            }
        });
        let outcome = match tokio::time::timeout(PATIENCE, said).await {
            Ok(Ok(Ok(line))) => return Ok(Self { child, ready: line }),
            Ok(Ok(Err(output))) => format!("it ended, saying {output}"),
            Ok(Err(_)) => "its output cannot be read".to_owned(),
            Err(_) => "it is not ready in time".to_owned(),
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(failed(&outcome))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    /// Starts one.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start() -> Result<Self, PeerError> {
        const PROGRAM: &str = "moto_server";
        let mut command = Command::new(find(PROGRAM)?);
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let peer = Peer::start(PROGRAM, command, "Running on http://").await?;
        let url = peer
            .ready
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned())
            .ok_or_else(|| PeerError::NotStarted(PROGRAM, peer.ready.clone()))?;
        Ok(Self { _peer: peer, url })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_ready_when_it_says_so_and_gone_when_dropped() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; echo ready on 7 >&2; exec cat /dev/zero >/dev/null"]);
        let peer = Peer::start("sh", command, "ready").await.unwrap();
        assert_eq!(peer.ready, "ready on 7");
        let process = PathBuf::from(format!("/proc/{}", peer.pid()));
        assert!(process.exists());
        drop(peer);
        assert!(!process.exists());
    }

    #[tokio::test]
    async fn a_peer_that_ends_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no licence"]);
        let error = Peer::start("sh", command, "ready").await.err().unwrap();
        assert!(error.to_string().contains("no licence"), "{error}");
    }

    #[test]
    fn only_what_is_not_there_is_skipped_and_nothing_in_ci() {
        let absent = || Err::<(), _>(PeerError::NotInstalled("x"));
        let broken = || Err::<(), _>(PeerError::NotStarted("x", "y".to_owned()));
        assert!(matches!(judge(absent(), false), Ok(Err(_))));
        assert!(judge(absent(), true).is_err());
        assert!(judge(broken(), false).is_err() && judge(broken(), true).is_err());
        assert!(matches!(judge(Ok(()), true), Ok(Ok(()))));
    }

    #[test]
    fn what_is_nowhere_is_named() {
        let error = find("no-such-peer-program").unwrap_err();
        assert!(error.to_string().starts_with("no-such-peer-program not available"), "{error}");
    }
}
