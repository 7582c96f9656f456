//! What these tests have in common: a lease, a look at the journal, a broker by a clock that is set.

use std::{fs, process::Command};

use jiff::{Timestamp, ToSpan};
use leasehold_client::{Issue, IssuedLease, Operator, proto};
use leasehold_core::{SecretPath, SecretValue, record::Kind};
use leasehold_tests::{
    authority::Leaf,
    daemon::{self, Daemon},
    rotations,
    site::{BROKER, OPERATOR, Plan, SECRET, Site, WORKLOAD},
};
use leaseholdd::clock;

pub(crate) fn path() -> SecretPath {
    SECRET.parse().unwrap()
}

/// A site with this in its configuration, where everything may be rotated.
pub(crate) fn site(more: &str) -> Site {
    let site = Site::new(Plan { more: more.to_owned(), ..Plan::default() });
    site.write("policies/20-rotation.cedar", rotations::POLICY);
    site
}

/// A secret of the embedded back end that is rotated so.
pub(crate) fn local(rotation: &str) -> String {
    format!(
        "[rotation]\ncatch_up = \"0s\"\n\n\
         [[secret]]\npath = \"{SECRET}\"\nprovider = \"local\"\nref = \"payments-db\"\nttl = \"30m\"\nmax_ttl = \"2h\"\n\
         rotation = {{ strategy = \"generate\", {rotation} }}\n"
    )
}

pub(crate) fn text(value: &SecretValue, field: &str) -> String {
    String::from_utf8(value.fields[&field.parse().unwrap()].expose().to_vec()).unwrap()
}

pub(crate) async fn operator(site: &Site) -> Operator {
    daemon::operator(site).await.operator()
}

pub(crate) async fn lease(site: &Site) -> IssuedLease {
    let wanted = Issue { secret: path(), ttl: None, fields: Vec::new(), request_id: None };
    daemon::workload(site).await.issue_lease(wanted).await.unwrap()
}

/// What is lent now; nobody holds it for that.
pub(crate) async fn lent(site: &Site) -> SecretValue {
    let issued = lease(site).await;
    daemon::workload(site).await.revoke_lease(issued.lease.id, None).await.unwrap();
    issued.value
}

pub(crate) async fn rotation(site: &Site) -> proto::Rotation {
    operator(site).await.rotation(&path()).await.unwrap()
}

/// The kinds of all records of rotations since the record of this number.
pub(crate) fn story(site: &Site, sequence: u64) -> Vec<Kind> {
    let Ok(entries) = leasehold_audit::read(&site.state().join("journal"), sequence + 1) else {
        return Vec::new();
    };
    let kinds = entries.map_while(Result::ok).map(|entry| entry.record.kind);
    kinds.filter(|kind| kind.to_string().starts_with("rotation.")).collect()
}

/// How many records of a kind there are.
pub(crate) fn count(site: &Site, kind: Kind) -> usize {
    story(site, 0).into_iter().filter(|one| *one == kind).count()
}

pub(crate) fn moment(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.map(|time| Timestamp::new(time.seconds, time.nanos).unwrap())
}

/// The time of the machine on which the tests run.
pub(crate) fn machine_time() -> Timestamp {
    Timestamp::from_nanosecond(clock::wall().into()).unwrap()
}

/// A broker whose clocks are set, in seconds: how far its time of day is ahead of what it should be, and how long its machine
/// has slept.
pub(crate) struct Clocked {
    pub(crate) site: Site,
    ahead: i64,
    slept: i64,
}

impl Clocked {
    pub(crate) fn new(more: &str) -> Self {
        let site = site(more);
        // Nobody's certificate is to expire meanwhile.
        let long = |leaf: Leaf| site.authority.sign(&Leaf { until: 25 * 86_400, ..leaf });
        site.install_server(&long(Leaf::server(BROKER)));
        site.install("operator", &long(Leaf::client(OPERATOR)));
        site.install("workload", &long(Leaf::client(WORKLOAD)));
        Self { site, ahead: 0, slept: 0 }
    }

    pub(crate) async fn start(&self) -> Daemon {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leaseholdd-with-faults"));
        program.env("LEASEHOLD_CLOCK", self.site.path("clock"));
        let mut daemon = Daemon::spawn(&self.site, program);
        daemon.ready(&self.site).await;
        daemon
    }

    /// Sets the time of day.
    pub(crate) fn set(&mut self, ahead: i64) {
        self.ahead = ahead;
        let new = self.site.path("clock.new");
        fs::write(&new, format!("{} {}", (self.ahead + self.slept) * 1000, self.slept * 1000)).unwrap();
        fs::rename(&new, self.site.path("clock")).unwrap();
    }

    /// Has the machine sleep.
    pub(crate) fn sleep(&mut self, seconds: i64) {
        self.slept += seconds;
        self.set(self.ahead);
    }

    /// Has the machine sleep until then, as it sees it.
    pub(crate) fn sleep_until(&mut self, time: Timestamp) {
        let now = self.now();
        assert!(now < time, "it is over");
        self.sleep(time.as_second() - now.as_second());
    }

    /// The time, as whoever sets no clock would have it.
    pub(crate) fn now(&self) -> Timestamp {
        machine_time() + self.slept.seconds()
    }
}
