//! A program that was started, with its own children.

use std::{
    collections::BTreeSet,
    io,
    os::{fd::BorrowedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, getpgrp, kill_process, kill_process_group, test_kill_process_group},
    termios::tcgetpgrp,
};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

/// A program that runs. When this is dropped, the program is killed, and its group with it where that is its own.
#[derive(Debug)]
pub struct Child {
    inner: tokio::process::Child,
    pid: Pid,
    group: Group,
    ended: bool,
}

/// Which process group a program is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One of its own, so that its children can be ended with it.
    Own,
    /// This process's, which has the terminal: what is typed there reaches the program by itself.
    Shared,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By the signal of this number.
    Signal(i32),
}

/// The children of this process that somebody waits for. Whoever buries orphans keeps away from them; and as it is locked
/// while a program is started, no program inherits what was opened for another one.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Locks the list of the children that are waited for.
pub(crate) fn awaited() -> MutexGuard<'static, BTreeSet<i32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Child {
    /// Starts a program, which inherits these descriptors, under their numbers here, beside its standard ones.
    ///
    /// # Errors
    /// As the system says.
    pub fn start(command: &mut Command, group: Group, inherited: &[BorrowedFd<'_>]) -> io::Result<Self> {
        if group == Group::Own {
            command.process_group(0);
        }
        command.kill_on_drop(true);
        let mut awaited = awaited();
        for fd in inherited {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let spawned = command.spawn();
        for fd in inherited {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        let inner = spawned?;
        let pid = inner.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a program was started without a process id"))?;
        awaited.insert(pid.as_raw_pid());
        Ok(Self { inner, pid, group, ended: false })
    }

    /// Waits until the program has ended; its children may live on. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn wait(&mut self) -> io::Result<End> {
        let status = self.inner.wait().await?;
        self.ended = true;
        awaited().remove(&self.pid.as_raw_pid());
        Ok(End::of(status))
    }

    /// The program's process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        // Once it was waited for, its id may be another's.
        if !self.ended {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Sends a signal to the program and those of its children that stayed in its group.
    pub fn signal_all(&self, signal: Signal) {
        match self.group {
            Group::Shared => self.signal(signal),
            // There may be nobody left.
            Group::Own => drop(kill_process_group(self.pid, signal)),
        }
    }

    /// Whether anybody of its group lives on; whoever nobody has buried yet counts as living.
    pub fn has_left_somebody(&self) -> bool {
        self.group == Group::Own && test_kill_process_group(self.pid).is_ok()
    }

    /// Nobody of it is left: its id may be another's from now on.
    pub(crate) fn let_go(&mut self) {
        self.group = Group::Shared;
    }

    /// Its standard input, when that was asked for.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.inner.stdin.take()
    }

    /// Its standard output, when that was asked for.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.inner.stdout.take()
    }

    /// Its standard error, when that was asked for.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.inner.stderr.take()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal_all(Signal::KILL);
        // tokio buries it; who is faster does not matter, for nobody waits for it any more.
        awaited().remove(&self.pid.as_raw_pid());
    }
}

impl Group {
    /// The one in which a program can be used from the terminal as if this process were not there.
    pub fn for_standard_input() -> Self {
        let stdin = std::io::stdin();
        let foreground = tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp());
        if foreground { Self::Shared } else { Self::Own }
    }
}

impl End {
    fn of(status: ExitStatus) -> Self {
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or_default()), Self::Code)
    }

    /// The exit code by which shells tell this end: 128 and the signal's number for a signal.
    pub fn exit_code(self) -> u8 {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}
