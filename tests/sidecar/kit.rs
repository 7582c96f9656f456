//! What these tests have in common: a site whose secrets can be rotated, and the sidecar as a process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use leasehold_client::{LeaseFilter, LeaseState};
use leasehold_core::SecretPath;
use leasehold_tests::{
    binaries, daemon,
    rotations::POLICY,
    site::{Plan, Site},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// A site with these secrets below `prod/payments`, each rotated when asked for, leased for `ttl`. They have no value yet.
pub(crate) fn site(names: &[&str], ttl: &str) -> Site {
    let mut more = String::new();
    for name in names {
        more.push_str(&format!(
            "[[secret]]\npath = \"prod/payments/{name}\"\nprovider = \"local\"\nref = \"{name}\"\nttl = \"{ttl}\"\n\
             max_ttl = \"1h\"\nrotation = {{ strategy = \"generate\" }}\n\n"
        ));
    }
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("policies/20-rotation.cedar", POLICY);
    site
}

/// The path of such a secret.
pub(crate) fn path(name: &str) -> SecretPath {
    format!("prod/payments/{name}").parse().unwrap()
}

/// A running `leasehold-sidecar`; killed when it is dropped.
pub(crate) struct Sidecar {
    child: Child,
    log: PathBuf,
}

impl Sidecar {
    /// Writes `sidecar.toml`: how the broker is reached, and `more`.
    pub(crate) fn configure(site: &Site, more: &str) {
        Self::configure_by(site, site.address, more);
    }

    /// The same with the broker at another address.
    pub(crate) fn configure_by(site: &Site, broker: SocketAddr, more: &str) {
        let text = format!(
            "[broker]\naddresses = \"{broker}\"\ncertificate = \"tls/workload.pem\"\nkey = \"tls/workload.key\"\n\
             trust_bundle = \"tls/clients.pem\"\n\n{more}"
        );
        site.write("sidecar.toml", &text);
    }

    /// The program with a verb and the site's configuration.
    pub(crate) fn command(site: &Site, verb: &str) -> Command {
        let mut command = Command::new(binaries::sidecar());
        command.args([verb, "--config"]).arg(site.path("sidecar.toml")).stdin(Stdio::null());
        command
    }

    /// Starts `run` with this configuration.
    pub(crate) fn start(site: &Site, more: &str) -> Self {
        Self::configure(site, more);
        Self::spawn(site, Self::command(site, "run"))
    }

    /// Has it read another configuration.
    pub(crate) fn reconfigure(&self, site: &Site, more: &str) {
        Self::configure(site, more);
        self.signal(Signal::HUP);
    }

    /// Starts a program as the sidecar; its log goes where [`Self::log`] reads it.
    pub(crate) fn spawn(site: &Site, mut program: Command) -> Self {
        let log = site.path("sidecar.log");
        let open = || File::options().create(true).append(true).open(&log).unwrap();
        let child = program.stdout(open()).stderr(open()).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said, of all its lives on this site.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log has this.
    pub(crate) async fn says(&self, text: &str) {
        let what = format!("the sidecar's log says {text:?}");
        until(&what, async || self.log().contains(text)).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the sidecar does not end:\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `leasehold-sidecar check`: the code, and the report where it got one.
pub(crate) fn check(site: &Site) -> (i32, Value) {
    let Output { status, stdout, .. } = Sidecar::command(site, "check").arg("--json").output().unwrap();
    (status.code().unwrap(), serde_json::from_slice(&stdout).unwrap_or_default())
}

/// The leases that there are, by the paths of their secrets.
pub(crate) async fn live(site: &Site) -> Vec<String> {
    let filter = LeaseFilter { states: vec![LeaseState::Active], ..LeaseFilter::default() };
    let page = daemon::operator(site).await.operator().list_leases(filter, 100, None).await.unwrap();
    let mut paths: Vec<_> = page.items.iter().map(|lease| lease.secret.to_string()).collect();
    paths.sort();
    paths
}

/// Makes a private folder in the site.
pub(crate) fn folder(site: &Site, name: &str) -> PathBuf {
    let path = site.path(name);
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

/// Writes a script of the shell into the site, for its owner to run.
pub(crate) fn program(site: &Site, name: &str, body: &str) -> PathBuf {
    let path = site.path(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}
