//! A process that is known by a file with its id.
//!
//! Such a file may be old, and its number another process's by now; and who may write to it may have any process signalled.
//! So the file must be nobody else's, its process must run as the file's owner (or the owner is root), and must have been
//! there when the file was written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use leasehold_programs::SignalName;
use rustix::{
    fs::OFlags,
    io::Errno,
    param::clock_ticks_per_second,
    process::{Pid, PidfdFlags, getpid, pidfd_open, pidfd_send_signal},
};
use thiserror::Error;

/// Why a process is not signalled.
#[derive(Debug, Error)]
pub enum PidFileError {
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Anybody could have written it.
    #[error("{path} can be written to by others: chmod go-w {path}", path = .0.display())]
    Writable(PathBuf),
    /// It is no file with a process id.
    #[error("{} holds no process id", .0.display())]
    NoPid(PathBuf),
    /// There is no such process.
    #[error("{} names the process {pid}, which does not run", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
        /// What it holds.
        pid: i32,
    },
    /// The process is younger than the file.
    #[error(
        "{} names the process {pid}, which started after the file was written: it is another one (or the clock was set: restart the service)",
        path.display()
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// What it holds.
        pid: i32,
    },
    /// The process belongs to somebody else than the file.
    #[error("{} belongs to the user {owner}, and the process {pid} to {user}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// What it holds.
        pid: i32,
        /// Whose process that is.
        user: u32,
    },
    /// The system does not let the signal through.
    #[error("the process {pid} of {} cannot be signalled: {error}", path.display())]
    NotSignalled {
        /// The file.
        path: PathBuf,
        /// What it holds.
        pid: i32,
        /// What the system says.
        error: io::Error,
    },
}

/// The process that was found last: what it is known by does not depend on the clock.
#[derive(Debug, Default)]
pub(super) struct Process {
    known: Option<Identity>,
}

/// No two processes of one boot have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    pid: i32,
    /// In clock ticks since the boot.
    started: u64,
}

/// More is no process id.
const LONGEST: u64 = 64;
/// The boot's time is in whole seconds, and so may a file's be.
const SLACK: u64 = 2;

impl Process {
    /// Sends the signal to the process of the file.
    pub(super) fn signal(&mut self, path: &Path, signal: SignalName) -> Result<(), PidFileError> {
        let (pid, process) = self.find(path)?;
        let not_signalled =
            |error: Errno| PidFileError::NotSignalled { path: path.to_owned(), pid, error: error.into() };
        pidfd_send_signal(process, signal.signal()).map_err(not_signalled)
    }

    /// Finds the process and remembers it. What is held is that process and none that follows it.
    pub(super) fn find(&mut self, path: &Path) -> Result<(i32, OwnedFd), PidFileError> {
        let unreadable = |error| PidFileError::Unreadable { path: path.to_owned(), error };
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.mode() & 0o022 != 0 {
            return Err(PidFileError::Writable(path.to_owned()));
        }
        let pid = if metadata.is_file() { read(file).map_err(unreadable)? } else { None };
        let pid = pid.ok_or_else(|| PidFileError::NoPid(path.to_owned()))?;
        let gone = || PidFileError::Gone { path: path.to_owned(), pid: pid.as_raw_pid() };
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH => gone(),
            error => unreadable(error.into()),
        })?;
        let pid = pid.as_raw_pid();
        let identity = Identity { pid, started: started(pid).ok_or_else(gone)? };
        let user = user(pid).ok_or_else(gone)?;
        let owner = metadata.uid();
        if owner != 0 && owner != user {
            return Err(PidFileError::Foreign { path: path.to_owned(), owner, pid, user });
        }
        if self.known != Some(identity) {
            let written = u64::try_from(metadata.mtime()).unwrap_or_default();
            if since_epoch(identity.started).is_none_or(|start| start > written.saturating_add(SLACK)) {
                return Err(PidFileError::Another { path: path.to_owned(), pid });
            }
            self.known = Some(identity);
        }
        Ok((pid, process))
    }
}

/// Neither init nor this process is meant.
fn read(file: File) -> io::Result<Option<Pid>> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    let number = text.trim_ascii().parse::<i32>().ok().filter(|number| *number > 1);
    Ok(number.and_then(Pid::from_raw).filter(|pid| *pid != getpid()))
}

/// `proc_pid_stat(5)`: the twentieth field after the name, which is in brackets and may have any in it.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// `proc_pid_status(5)`: the real user.
fn user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds since 1970, by the clock as it is set now.
fn since_epoch(ticks: u64) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    boot.checked_add(ticks.checked_div(clock_ticks_per_second())?)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{fs::PermissionsExt, process::ExitStatusExt},
        process::{Child, Command},
        time::{Duration, UNIX_EPOCH},
    };

    use tempfile::TempDir;

    use super::*;

    struct Site {
        folder: TempDir,
        child: Child,
    }

    impl Site {
        fn new() -> Self {
            let child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
            let site = Self { folder: TempDir::new().unwrap(), child };
            site.write(&format!("{}\n", site.child.id()));
            site
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("pid")
        }

        fn write(&self, text: &str) {
            fs::write(self.file(), text).unwrap();
            fs::set_permissions(self.file(), PermissionsExt::from_mode(0o644)).unwrap();
        }

        fn signal(&self, process: &mut Process) -> Result<(), PidFileError> {
            process.signal(&self.file(), SignalName::TERM)
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn the_process_of_the_file_is_signalled() {
        let mut site = Site::new();
        site.signal(&mut Process::default()).unwrap();
        assert_eq!(site.child.wait().unwrap().signal(), Some(15));
        assert!(matches!(site.signal(&mut Process::default()), Err(PidFileError::Gone { .. })));
    }

    #[test]
    fn a_process_that_came_later_is_another_unless_it_is_known() {
        let site = Site::new();
        let mut process = Process::default();
        process.find(&site.file()).unwrap();
        let file = File::options().write(true).open(site.file()).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
        assert!(matches!(site.signal(&mut Process::default()), Err(PidFileError::Another { .. })));
        site.signal(&mut process).unwrap();
    }

    #[test]
    fn nobody_is_signalled_for_what_others_wrote() {
        let site = Site::new();
        fs::set_permissions(site.file(), PermissionsExt::from_mode(0o666)).unwrap();
        assert!(matches!(site.signal(&mut Process::default()), Err(PidFileError::Writable(_))));
        let link = site.folder.path().join("link");
        std::os::unix::fs::symlink(site.file(), &link).unwrap();
        let followed = Process::default().signal(&link, SignalName::TERM);
        assert!(matches!(followed, Err(PidFileError::Unreadable { .. })));
    }

    #[test]
    fn what_is_no_process_id_is_not_taken_for_one() {
        let site = Site::new();
        for bad in ["", "0", "1", "-1", "abc", "12 13", &std::process::id().to_string(), "99999999999"] {
            site.write(bad);
            assert!(matches!(site.signal(&mut Process::default()), Err(PidFileError::NoPid(_))), "{bad:?}");
        }
    }
}
