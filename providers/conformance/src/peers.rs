//! Starts the real servers that tests talk to, on free ports, and stops them by their process ids.
//!
//! Their programs are found in `$LEASEHOLD_PEERS` (a directory of programs), in `target/peers/bin`, or on the `PATH`;
//! the project's own script installs them, pinned.

mod bao;
mod drongo;
mod moto;
mod port;
mod postgres;
mod process;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

pub use self::{
    bao::{Bao, BaoSetup, Storage},
    drongo::Drongo,
    moto::Moto,
    postgres::{Postgres, Session},
    process::Peer,
};

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

/// Where a peer's program is.
///
/// # Errors
/// When it is nowhere.
pub fn find(program: &'static str) -> Result<PathBuf, PeerError> {
    let path = env::var_os("PATH").unwrap_or_default();
    folders()
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(PeerError::NotInstalled(program))
}

/// Where the project's own script puts programs.
fn folders() -> Vec<PathBuf> {
    let named = env::var_os("LEASEHOLD_PEERS").map(PathBuf::from);
    let start = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(|| env::current_dir().ok());
    let built = start
        .into_iter()
        .flat_map(|start| start.ancestors().map(|at| at.join("target/peers/bin")).collect::<Vec<_>>());
    named.into_iter().chain(built).collect()
}

/// A program in Python, started by these lines where its own interpreter lies beside it, else as it is.
fn with_room(program: &Path, launch: &str) -> Command {
    let python = program.with_file_name("python3");
    if !python.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(python);
    command.args(["-c", launch]);
    command
}

/// The server's address in a line such as ` * Running on http://127.0.0.1:4567 `.
fn url_in(line: &str) -> Option<String> {
    let word = line.split_whitespace().find(|word| word.starts_with("http://"))?;
    Some(word.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

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
