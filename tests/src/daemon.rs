//! The real daemon as a process.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use leasehold_client::{Client, proto::ReloadStatus};
use rustix::process::{Pid, Signal, kill_process};

use crate::{binaries, site::Site, wait::until};

/// As long as a broker may take that shares its processors with whatever else a test run does.
const CONNECT: Duration = Duration::from_secs(30);

/// A running `leaseholdd`; killed when it is dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the daemon of `site` and waits until it serves.
    pub async fn start(site: &Site) -> Self {
        let mut daemon = Self::spawn(site, Command::new(binaries::leaseholdd()));
        daemon.ready(site).await;
        daemon
    }

    /// Starts `program` as the daemon of `site`, and does not wait.
    pub fn spawn(site: &Site, program: Command) -> Self {
        Self::spawn_with(site, program, &[])
    }

    /// The same with options of `run` more.
    pub fn spawn_with(site: &Site, mut program: Command, options: &[&str]) -> Self {
        let log = site.path("daemon.log");
        let open = || File::options().create(true).append(true).open(&log).expect("the site is writable");
        let child = program
            .args(["run", "--config"])
            .arg(site.path("leasehold.toml"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("leaseholdd starts");
        Self { child, log }
    }

    /// Waits until an operator is answered.
    ///
    /// # Panics
    /// When the daemon ends, or is not there after half a minute.
    pub async fn ready(&mut self, site: &Site) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let ended = self.child.try_wait().expect("the daemon is our child");
            assert!(ended.is_none(), "the daemon ended with {ended:?}:\n{}", self.log());
            if site.client("operator").connect().await.is_ok() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "the daemon does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the daemon is our child").is_none()
    }

    /// What it has said on both outputs, of all its lives on this site.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log has this; a peer can see what the broker does a little before the log says it.
    pub async fn says(&self, text: &str) {
        until(&format!("the log says {text:?}"), async || self.log().contains(text)).await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.expect("a process id is positive"), signal);
    }

    /// Has it read its configuration again, and waits until it says what came of that.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub async fn reload(&self, site: &Site) -> ReloadStatus {
        let operator = operator(site).await.operator();
        let last = async || operator.status().await.expect("the operator may ask").last_reload;
        let before = last().await;
        self.signal(Signal::HUP);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            match last().await {
                Some(now) if Some(&now) != before.as_ref() => return now,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(tokio::time::Instant::now() < deadline, "it does not reload:\n{}", self.log());
        }
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the daemon is our child")
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not after half a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("the daemon is our child") {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "the daemon does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a secret of one field `value` through the broker, as the operator.
pub async fn put(site: &Site, path: &str, value: &str) {
    let client = operator(site).await;
    let write = leasehold_client::Write {
        secret: path.parse().expect("a secret path"),
        value: leasehold_core::SecretValue::plain(value.to_owned()),
        expected: None,
        request_id: None,
    };
    client.operator().write_secret(write).await.expect("the operator may write");
}

/// A client as the operator.
pub async fn operator(site: &Site) -> Client {
    let client = site.client("operator").connect_timeout(CONNECT);
    client.connect().await.expect("the broker serves the operator")
}

/// A client as the workload.
pub async fn workload(site: &Site) -> Client {
    let client = site.client("workload").connect_timeout(CONNECT);
    client.connect().await.expect("the broker serves the workload")
}
