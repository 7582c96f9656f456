//! A site with the broker, the database that it makes users of, and everything that can be done to them.

use std::{collections::HashSet, fs, process::Command, sync::Arc, time::Duration};

use jiff::SignedDuration;
use leasehold_core::{LeaseId, Timestamp, ttl::after};
use leasehold_proto::v1::{self, operator_service_client::OperatorServiceClient};
use leasehold_provider_conformance::proxy::FaultProxy;
use leasehold_tests::{
    daemon::Daemon,
    seed::Seed,
    site::{Plan, SECRET, Site, TRUST_DOMAIN},
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    book::{Book, Sweeping},
    database::{BROKER, Database, GROUP, PASSWORD},
    oracle,
};

/// The broker's place; the database and what is before it outlive the site.
pub(crate) struct Scene<'a> {
    pub(crate) site: Arc<Site>,
    pub(crate) database: &'a mut Database,
    pub(crate) proxy: &'a FaultProxy,
    /// What the names of this site's users start with.
    pub(crate) prefix: String,
    /// How often it was tried whether everything works: each time may have left a lease behind.
    pub(crate) probes: usize,
    /// Users that were made behind the broker's back, as if it had died and lost its memory of them.
    pub(crate) planted: HashSet<String>,
    daemon: Option<Daemon>,
    /// Whether it was stopped and has not been told to go on.
    stands_still: bool,
    /// How far the broker's time of day is ahead of what it should be, in milliseconds.
    ahead: i64,
    /// How long the broker's machine has slept and this one has not, in milliseconds.
    slept: i64,
}

/// The secret that stands for users of the database.
pub(crate) const USER: &str = "prod/payments/user";

/// How long a lease can live.
pub(crate) const LONGEST: Duration = Duration::from_secs(20);

/// How much later than its lease the server itself stops letting a user in.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// What takes longer than this does not happen any more: circuits rest for half a minute at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the broker's clock follows a time of day that jumps ahead, unless it is told otherwise.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(30);

/// A broker may stand still for so long, and then hear what was said to it before.
const STOPPED: Duration = Duration::from_secs(12);

impl<'a> Scene<'a> {
    /// A new site, whose broker serves.
    pub(crate) async fn new(database: &'a mut Database, proxy: &'a FaultProxy, prefix: String) -> Self {
        let mut plan = Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() };
        plan.more.push_str(&format!(
            "[[provider]]\nname = \"pg\"\nkind = \"postgres\"\naddress = \"{}\"\ntls = \"disable\"\n\
             user = \"{BROKER}\"\npassword_file = \"pg-password\"\nuser_prefix = \"{prefix}\"\nmargin = \"{}s\"\n\
             connections = 6\nconnect_timeout = \"1s\"\nstatement_timeout = \"1500ms\"\ntimeout = \"2s\"\n\
             call_timeout = \"3s\"\norphan_sweep = \"2s\"\norphan_grace = \"2s\"\n\n\
             [[role]]\nname = \"app\"\nprovider = \"pg\"\ngrants = [\"{GROUP}\"]\n\n\
             [[secret]]\npath = \"{USER}\"\nprovider = \"pg\"\nrole = \"app\"\nttl = \"5s\"\nmax_ttl = \"{}s\"\n",
            proxy.address(),
            MARGIN.as_secs(),
            LONGEST.as_secs(),
        ));
        let site = Arc::new(Site::new(plan));
        site.write("pg-password", PASSWORD);
        let mut scene = Self {
            site,
            database,
            proxy,
            prefix,
            probes: 0,
            planted: HashSet::new(),
            daemon: None,
            stands_still: false,
            ahead: 0,
            slept: 0,
        };
        scene.disk("");
        scene.set_clock(0);
        scene.recover().await;
        leasehold_tests::daemon::put(&scene.site, SECRET, "correct horse battery staple").await;
        scene
    }

    /// Kills the broker, if it runs.
    pub(crate) fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Ends the broker in order.
    pub(crate) async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            assert!(daemon.stop().await.success(), "the broker does not end in order");
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.stands_still = signal == Signal::STOP;
        if let Some(daemon) = &self.daemon {
            daemon.signal(signal);
        }
    }

    /// From now on the journal's files fail so; by nothing, not at all.
    pub(crate) fn disk(&self, faults: &str) {
        self.control("faults", faults);
    }

    /// Sets the broker's time of day so many milliseconds ahead of what it should be.
    pub(crate) fn set_clock(&mut self, ahead: i64) {
        self.ahead = ahead;
        self.control("clock", &format!("{} {}", self.ahead + self.slept, self.slept));
    }

    /// The broker's machine sleeps for so many milliseconds, and wakes up again.
    pub(crate) fn sleep(&mut self, millis: i64) {
        self.slept += millis;
        self.set_clock(self.ahead);
    }

    /// What time it is where the broker is.
    pub(crate) fn time(&self) -> Timestamp {
        oracle::machine_time() + SignedDuration::from_millis(self.slept)
    }

    /// Starts the broker if it does not run, and waits until it serves or has ended again: its disk may be full. One that
    /// stands still is not waited for.
    pub(crate) async fn try_start(&mut self) {
        let running = self.daemon.take().and_then(|mut daemon| daemon.is_running().then_some(daemon));
        if running.is_some() && self.stands_still {
            self.daemon = running;
            return;
        }
        self.stands_still = false;
        let mut daemon = running.unwrap_or_else(|| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_leaseholdd-with-faults"));
            program.env("LEASEHOLD_FAULTS", self.site.path("faults"));
            program.env("LEASEHOLD_CLOCK", self.site.path("clock"));
            Daemon::spawn(&self.site, program)
        });
        let deadline = Instant::now() + PATIENCE;
        while daemon.is_running() && self.site.client("operator").connect().await.is_err() {
            assert!(Instant::now() < deadline, "the broker neither serves nor ends:\n{}", daemon.log());
            sleep(Duration::from_millis(20)).await;
        }
        self.daemon = Some(daemon);
    }

    /// Makes a user that carries the broker's tag and of which no ledger knows.
    pub(crate) async fn plant(&mut self, seed: &mut Seed) {
        let bits = [seed.within(0..u64::MAX), seed.within(0..u64::MAX)].map(u64::to_be_bytes).concat();
        let lease = LeaseId::from_bits(bits.try_into().expect("twice eight bytes"));
        let name = format!("{}_app_{}", self.prefix, lease.suffix());
        let server = self.database.server();
        let broker = server.open(BROKER, PASSWORD, "postgres").await.expect("the broker's user gets in");
        let id = fs::read_to_string(self.site.state().join("broker-id")).expect("the broker has a name");
        let tag = format!(
            "{{\"leasehold\":\"{lease}\",\"broker\":\"{TRUST_DOMAIN}/{}\",\"role\":\"app\"}}",
            id.trim()
        );
        let statements =
            format!("CREATE ROLE {name} LOGIN PASSWORD 'known to nobody'; COMMENT ON ROLE {name} IS '{tag}'");
        broker.run(&statements).await.expect("the broker's user may make users");
        self.planted.insert(name);
    }

    /// Has the broker end every lease on a user.
    pub(crate) async fn revoke_all(&self, book: &Book) {
        let answer = self.start_revocation().await;
        let mut entries = book.open();
        match answer {
            Ok((id, until)) => {
                entries.count("revoke all: answered".into());
                entries.sweeping.push(Sweeping { id: Some(id), until });
            }
            Err(why) => {
                entries.count(format!("revoke all: {why}"));
                // A broker that stands still may yet hear of it.
                entries.sweeping.push(Sweeping { id: None, until: after(self.time(), STOPPED + TOLERANCE) });
            }
        }
    }

    async fn start_revocation(&self) -> Result<(String, Timestamp), String> {
        let builder = self.site.client("operator").request_timeout(STOPPED / 2);
        let client = builder.connect().await.map_err(|_| "no connection".to_owned())?;
        let request = v1::StartRevocationRequest {
            filter: Some(v1::LeaseFilter { secret: USER.to_owned(), ..v1::LeaseFilter::default() }),
            reason: "chaos".to_owned(),
            ..v1::StartRevocationRequest::default()
        };
        let answer = OperatorServiceClient::new(client.channel()).start_revocation(request).await;
        let answer = answer.map_err(|status| format!("{:?}", status.code()))?.into_inner();
        let revocation = answer.revocation.expect("a revocation");
        let until = revocation.start_time.expect("a time");
        Ok((revocation.id, Timestamp::new(until.seconds, until.nanos).expect("a time")))
    }

    /// The revocations that the broker knows.
    pub(crate) async fn revocations(&self) -> Vec<v1::Revocation> {
        let client = leasehold_tests::daemon::operator(&self.site).await;
        let request = v1::ListRevocationsRequest { page_size: 1000, ..v1::ListRevocationsRequest::default() };
        let answer = OperatorServiceClient::new(client.channel()).list_revocations(request).await;
        answer.expect("the revocations are told").into_inner().revocations
    }

    /// Puts an end to all that goes wrong and waits until users are made again.
    pub(crate) async fn recover(&mut self) {
        self.disk("");
        self.set_clock(0);
        self.proxy.heal();
        self.signal(Signal::CONT);
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.try_start().await;
            self.probes += 1;
            let why = match crate::workload::probe(&self.site).await {
                Ok(()) => return,
                Err(why) => why,
            };
            assert!(Instant::now() < deadline, "it does not recover: {why}\n{}", self.log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The end of the broker's log.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.site.path("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Replaces a control file, so that it is never seen half written.
    fn control(&self, name: &str, text: &str) {
        let new = self.site.path(&format!("{name}.new"));
        fs::write(&new, text).expect("the site is writable");
        fs::rename(&new, self.site.path(name)).expect("the site is writable");
    }
}
