//! A program that is run for one piece of work.

use std::{io, process::Stdio, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use crate::{Child, End, Group, Mask, said::log};

/// One run.
pub struct Run<'a> {
    /// What to run. Its standard streams and its process group are set here.
    pub command: Command,
    /// What it gets on its standard input.
    pub input: Zeroizing<Vec<u8>>,
    /// It, and its children, may take so long.
    pub timeout: Duration,
    /// What is not to be seen in what it says.
    pub mask: Mask,
    /// How the log names the program.
    pub name: &'a str,
    /// What it is run for.
    pub step: &'a str,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Killed,
    /// By us, for it took too long.
    TooSlow,
}

/// What is told to end has this long before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a program to its end. What it leaves running in its group is ended with it; what it says on its standard error
/// goes to the log.
///
/// # Errors
/// When it cannot be started, or the system does not tell how it ended.
pub async fn run(run: Run<'_>) -> io::Result<Ended> {
    let Run { mut command, input, timeout: limit, mask, name, step } = run;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Child::start(&mut command, Group::Own, &[])?;
    let (stdin, stderr) = (child.stdin(), child.stderr());
    let feeding = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read it says by its exit code how it went.
            let _ = stdin.write_all(&input).await;
        }
    }));
    let (name, step) = (name.to_owned(), step.to_owned());
    let listening = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Some(stderr) = stderr {
            log(stderr, &name, &step, &mask).await;
        }
    }));
    let ended = match timeout(limit, child.wait()).await {
        Ok(Ok(End::Code(code))) => Ok(Ended::Code(code)),
        Ok(Ok(End::Signal(_))) => Ok(Ended::Killed),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            child.signal_all(Signal::TERM);
            sleep(GRACE).await;
            Ok(Ended::TooSlow)
        }
    };
    // What it left behind goes with it, whether it ended or not.
    drop(child);
    drop(feeding);
    // Who left the group may still hold the pipe.
    let _ = timeout(GRACE, listening).await;
    ended
}
