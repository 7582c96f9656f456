//! A state directory to operate on: kept as it was, and put back before each operation.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use tokio::time::{Instant, sleep};

use crate::{
    acknowledged::list,
    seed::Seed,
    traffic::{Running, VALUE, Workload},
};

/// A site whose broker has ended, and what its workloads hold.
pub(crate) struct Patient {
    pub(crate) site: Site,
    pub(crate) workloads: Vec<Workload>,
}

/// How a broker's life ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    InOrder,
    Killed,
}

impl Patient {
    /// A site with a secret in it, and segments that are as short as can be.
    pub(crate) async fn new(seed: &mut Seed) -> Self {
        let site = Site::new(Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() });
        let mut patient = Self { site, workloads: Vec::new() };
        patient.forget(seed);
        let daemon = Daemon::start(&patient.site).await;
        daemon::put(&patient.site, SECRET, VALUE).await;
        assert!(daemon.stop().await.success());
        patient
    }

    /// Lets the workloads work until there are so many segments; then the broker ends. There are some records in the last
    /// one, and its end is whole.
    pub(crate) async fn live(&mut self, segments: usize, end: End) {
        loop {
            self.live_once(segments, end).await;
            let whole = leasehold_audit::verify(&self.journal()).expect("it can be read").is_whole();
            if whole && self.lines(self.last()).len() > 20 {
                return;
            }
        }
    }

    async fn live_once(&mut self, segments: usize, end: End) {
        let daemon = Daemon::start(&self.site).await;
        self.check().await;
        let running = Running::start(&self.site, std::mem::take(&mut self.workloads)).await;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.segments().len() < segments {
            assert!(Instant::now() < deadline, "the journal does not grow:\n{}", daemon.log());
            sleep(Duration::from_millis(10)).await;
        }
        // A little more, so that there is something in the last segment.
        sleep(Duration::from_millis(200)).await;
        if let End::Killed = end {
            running.may_fail();
            daemon.kill();
            (self.workloads, _) = running.finish().await;
        } else {
            running.end();
            (self.workloads, _) = running.finish().await;
            assert!(daemon.stop().await.success());
        }
    }

    /// The workloads begin anew and know nothing.
    pub(crate) fn forget(&mut self, seed: &mut Seed) {
        self.workloads = (0..16).map(|_| Workload::new(seed.split())).collect();
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.site.state().join("journal")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.site.state().join("index")
    }

    /// The journal's segments in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let files =
            fs::read_dir(self.journal()).expect("there is a journal").map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        segments.sort();
        segments
    }

    /// Which one is the last.
    pub(crate) fn last(&self) -> usize {
        self.segments().len() - 1
    }

    /// Keeps a copy of the state directory under this name.
    pub(crate) fn save(&self, name: &str) {
        copy(&self.site.state(), &self.site.path(name));
    }

    /// Puts a part of a copy in its place, or all of it (``).
    pub(crate) fn put_back(&self, name: &str, part: &str) {
        let place = self.site.state().join(part);
        if place.exists() {
            fs::remove_dir_all(&place).unwrap();
        }
        copy(&self.site.path(name).join(part), &place);
        // These are not restored from a backup but made up: without the note they are taken for what they were.
        let _ = fs::remove_file(self.site.state().join("place"));
    }

    /// Starts the broker, which must serve and have everything; returns what it said, and ends it.
    pub(crate) async fn serves(&mut self) -> String {
        let said = self.said();
        let daemon = Daemon::start(&self.site).await;
        self.check().await;
        let log = daemon.log()[said..].to_owned();
        daemon.kill();
        log
    }

    /// Starts the broker, which may find out only when it is asked that it must make its index anew: then it says so, and
    /// the next start does that. Returns what it said.
    pub(crate) async fn heals(&mut self) -> String {
        const WORTH_A_RESTART: i32 = 1;
        let said = self.said();
        let mut daemon = Daemon::spawn(&self.site, Command::new(binaries::leaseholdd()));
        let deadline = Instant::now() + Duration::from_secs(30);
        let found = loop {
            if let Some(status) = daemon.has_ended() {
                assert_eq!(status.code(), Some(WORTH_A_RESTART), "{}", daemon.log());
                break true;
            }
            if let Ok(client) = self.site.client("workload").connect().await {
                let listed = client.list_leases(&[], 1000, None).await;
                let refused =
                    listed.inspect_err(|error| assert_eq!(error.reason(), Some("LEDGER_UNAVAILABLE")));
                break refused.is_err();
            }
            assert!(Instant::now() < deadline, "it neither serves nor ends:\n{}", daemon.log());
            sleep(Duration::from_millis(20)).await;
        };
        let log = daemon.log()[said..].to_owned();
        assert!(!found || log.contains("the index is damaged: restart, and it is made anew"), "{log}");
        daemon.kill();
        self.serves().await;
        fs::read_to_string(self.site.path("daemon.log")).unwrap()[said..].to_owned()
    }

    /// Starts the broker, which must refuse to serve and change nothing in the journal; returns what it said.
    pub(crate) async fn refuses(&self) -> String {
        const CANNOT_USE_THE_STATE: i32 = 3;
        let (said, before) = (self.said(), contents(&self.journal()));
        let mut daemon = Daemon::spawn(&self.site, Command::new(binaries::leaseholdd()));
        let status: ExitStatus = daemon.ended().await;
        let log = daemon.log()[said..].to_owned();
        assert_eq!(status.code(), Some(CANNOT_USE_THE_STATE), "{log}");
        assert!(contents(&self.journal()) == before, "the journal was changed by a broker that refused it");
        log
    }

    /// `leasehold audit verify` with these arguments more: the exit code and both outputs.
    pub(crate) fn verify(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binaries::leasehold());
        let output = command.args(["audit", "verify"]).arg(self.site.state()).args(more).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("it speaks UTF-8"))
    }

    /// Checks that the broker has everything that the workloads know.
    async fn check(&mut self) {
        let client = daemon::workload(&self.site).await;
        let listed = list(&client).await;
        for workload in &mut self.workloads {
            workload.check(&client, &listed).await;
        }
    }

    /// How much the broker has said so far.
    fn said(&self) -> usize {
        fs::read(self.site.path("daemon.log")).map_or(0, |log| log.len())
    }
}

/// The files of a journal, by name. A segment that was being made ready has no record in it, and may go.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Ok(files) = fs::read_dir(dir) else { return BTreeMap::new() };
    let paths = files.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("next.tmp"));
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
