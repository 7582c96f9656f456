//! The broker as a process of its own.

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use leasehold_client::{ConnectError, Error};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::site::{Site, Who};
use crate::{
    connection::Connection,
    exit::{Exit, Failure},
};

/// A running broker. It is killed when this is dropped, and asked to end by [`Broker::stop`].
pub(super) struct Broker {
    child: Child,
    log: PathBuf,
}

/// How long it may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

impl Broker {
    /// Makes its key, starts it, and waits until it answers.
    pub(super) async fn start(site: &Site) -> Result<Self, Failure> {
        let program = program()?;
        let log = site.log();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
        let file = file.map_err(|why| Failure::failed(log.display(), why))?;
        let command = |arguments: &[&str]| -> Result<Command, Failure> {
            let mut command = Command::new(&program);
            let share = || file.try_clone().map_err(|why| Failure::failed(log.display(), why));
            command
                .args(arguments)
                .arg("--config")
                .arg(site.config())
                .stdin(Stdio::null())
                .stdout(share()?)
                .stderr(share()?)
                .kill_on_drop(true);
            Ok(command)
        };
        let run = |why: std::io::Error| Failure::failed(program.display(), why);
        let made = command(&["init"])?.status().await.map_err(run)?;
        if !made.success() {
            return Err(told(&log, "the broker could not make its key"));
        }
        let child = command(&["run"])?.spawn().map_err(run)?;
        let mut broker = Self { child, log };
        match timeout(PATIENCE, broker.serving(site)).await {
            Ok(served) => served.map(|()| broker),
            Err(_) => Err(told(&broker.log, "the broker does not serve")),
        }
    }

    /// Returns when it has ended by itself, with what it said.
    pub(super) async fn ended(&mut self) -> Failure {
        let how = match self.child.wait().await {
            Ok(status) => format!("the broker ended ({status})"),
            Err(why) => format!("the broker cannot be waited for: {why}"),
        };
        told(&self.log, &how)
    }

    /// Asks it to end and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended in this moment, which the wait below finds out.
            let _ = kill_process(pid, Signal::TERM);
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(told(&self.log, &format!("the broker did not end well ({status})"))),
            Ok(Err(why)) => Err(Failure::failed("the broker cannot be waited for", why)),
            Err(_) => Err(told(&self.log, "the broker did not end, and was killed")),
        }
    }

    /// Waits until the operator gets an answer.
    async fn serving(&mut self, site: &Site) -> Result<(), Failure> {
        let connection = Connection::to(site.address().clone(), &site.identity(Who::Admin));
        loop {
            let last = match connection.try_open().await {
                Ok(client) => match client.operator().status().await {
                    Ok(_) => return Ok(()),
                    Err(why) => why,
                },
                Err(why) => why,
            };
            let waits = matches!(
                last,
                Error::Connect(ConnectError::NotRunning { .. } | ConnectError::Unreachable { .. })
                    | Error::Unavailable { .. }
            );
            if !waits {
                return Err(told(&self.log, &format!("the broker does not serve: {last}")));
            }
            tokio::select! {
                ended = self.ended() => return Err(ended),
                () = sleep(POLL) => {}
            }
        }
    }
}

/// `leaseholdd`: next to this program, else where the shell would find it.
fn program() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(|why| Failure::failed("this program's own path", why))?;
    let beside = own.parent().map(|folder| folder.join("leaseholdd"));
    let on_path = env::var_os("PATH")
        .into_iter()
        .flat_map(|path| env::split_paths(&path).map(|folder| folder.join("leaseholdd")).collect::<Vec<_>>());
    beside.into_iter().chain(on_path).find(|program| program.is_file()).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!(
                "`leaseholdd` is neither next to {} nor in PATH: install it, or in the repository run `cargo quickstart`",
                own.display()
            ),
        )
    })
}

/// What happened, with the end of the broker's log.
fn told(log: &Path, what: &str) -> Failure {
    const LINES: usize = 8;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    let end: String = lines.iter().skip(from).map(|line| format!("\n  {line}")).collect();
    Failure::new(Exit::Failed, format!("{what}; the end of {}:{end}", log.display()))
}
