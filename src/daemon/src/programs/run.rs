//! One run of a program.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use leasehold_core::{
    provider::{ErrorClass, ProviderError},
    rotation::Program,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, Command},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use uzers::os::unix::UserExt;
use zeroize::Zeroizing;

use super::{file::trusted, mask::Mask};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Killed,
    /// By us, for it took too long.
    TooSlow,
}

/// What is told to end has this long before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// So much of what a program says in one run goes to the log, and so much of a line.
const MOST_BYTES: u64 = 64 << 10;
const LONGEST_LINE: usize = 1024;

/// Runs a program with `input` on its standard input. When it, or its children, do not end in time, they are ended.
pub(super) async fn run(
    program: &Program,
    step: &'static str,
    input: Zeroizing<Vec<u8>>,
    mask: Mask,
) -> Result<Ended, ProviderError> {
    let name = program.command.first().map(|file| file.to_string()).unwrap_or_default();
    let mut command = prepare(program).map_err(|why| ProviderError::new(ErrorClass::Permanent, why))?;
    let mut child = command.spawn().map_err(|error| not_started(&name, program, &error))?;
    let group = Group::of(&child);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feeding = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read it says by its exit code how it went.
            let _ = stdin.write_all(&input).await;
        }
    }));
    let listening = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Some(stderr) = stderr {
            log(stderr, &name, step, &mask).await;
        }
    }));
    let ended = match timeout(program.timeout, child.wait()).await {
        Ok(Ok(status)) => Ok(how(status)),
        Ok(Err(error)) => {
            Err(ProviderError::new(ErrorClass::Transient, format!("a program cannot be waited for: {error}")))
        }
        Err(_) => {
            group.signal(Signal::TERM);
            sleep(GRACE).await;
            Ok(Ended::TooSlow)
        }
    };
    // What it left behind goes with it, whether it ended or not.
    group.signal(Signal::KILL);
    drop(feeding);
    // Who left the group may still hold the pipe.
    let _ = timeout(GRACE, listening).await;
    ended
}

fn prepare(program: &Program) -> Result<Command, String> {
    let Some((file, arguments)) = program.command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    trusted(Path::new(&**file))?;
    let mut command = Command::new(&**file);
    command
        .args(arguments.iter().map(|argument| &**argument))
        .env_clear()
        .current_dir(program.dir.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A group of its own, so that its children end with it.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = &program.user {
        let found = uzers::get_user_by_name(&**user).ok_or_else(|| format!("there is no user `{user}`"))?;
        // The standard library drops the supplementary groups along.
        command.uid(found.uid()).gid(found.primary_group_id());
        if program.dir.is_none() && found.home_dir().is_dir() {
            command.current_dir(found.home_dir());
        }
    }
    Ok(command)
}

fn not_started(name: &str, program: &Program, error: &io::Error) -> ProviderError {
    let hint = match (&program.user, error.kind()) {
        (Some(user), io::ErrorKind::PermissionDenied) => {
            format!(": to run it as `{user}` the broker needs CAP_SETUID and CAP_SETGID")
        }
        _ => String::new(),
    };
    ProviderError::new(ErrorClass::Permanent, format!("`{name}` cannot be run: {error}{hint}"))
}

fn how(status: ExitStatus) -> Ended {
    status.code().map_or(Ended::Killed, Ended::Code)
}

/// The program with its children; they end when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // There may be nobody left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Writes what a program says to the log, a line at a time.
async fn log(stderr: ChildStderr, program: &str, step: &'static str, mask: &Mask) {
    let mut said = Zeroizing::new(Vec::new());
    let mut stderr = stderr.take(MOST_BYTES);
    if let Err(error) = stderr.read_to_end(&mut said).await {
        warn!(program, step, %error, "what a program says cannot be read");
    }
    let all = stderr.limit() > 0;
    let mut rest = stderr.into_inner();
    // A line that was cut may end with half of a value.
    let whole = if all { said.len() } else { memchr::memrchr(b'\n', &said).unwrap_or_default() };
    let whole = said.get(..whole).unwrap_or_default();
    for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Masked before it is cut, so that no half of a value is left.
        let mut line = mask.clean(line);
        line.truncate(line.floor_char_boundary(LONGEST_LINE));
        info!(program, step, "{line}");
    }
    if !all {
        warn!(program, step, "the program says more than goes to the log");
        // It is read on, so that the program is not held up.
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}
