//! What rotation costs: nothing while nothing is due, and how many are done when thousands are due at once.
//!
//! `LEASEHOLD_FIGURES_SCHEDULED` and `LEASEHOLD_FIGURES_DUE` say other numbers than 100,000 and 10,000, to try these out;
//! the figures keep their names.

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use leasehold_client::{Client, Write};
use leasehold_core::SecretValue;
use leasehold_tests::{
    cpu::CpuTimes,
    daemon::{self, Daemon},
    site::{Plan, Site},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    expiries::Lines,
    figure::{Report, Target},
};

pub(crate) const NAMES: [&str; 2] = ["scheduler_idle_cpu", "rotations_per_second"];

/// How long the idle broker is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// So many secrets are written at once.
const WRITERS: usize = 64;
/// All that are due must have been rotated by then.
const LATEST: Duration = Duration::from_secs(600);
/// Every rotation ends with this.
const RETIRED: &[u8] = br#""kind":"rotation.retired""#;

pub(crate) async fn all(report: &mut Report, wants: impl Fn(&str) -> bool) {
    if wants("scheduler_idle_cpu") {
        idle_cpu(report).await;
    }
    if wants("rotations_per_second") {
        per_second(report).await;
    }
}

/// A broker with so many scheduled secrets, of which none is due for a month.
async fn idle_cpu(report: &mut Report) {
    let count = number("LEASEHOLD_FIGURES_SCHEDULED", 100_000);
    // A disk is not what is measured, and would take half an hour for so many first versions.
    let memory = tempfile::Builder::new().prefix("leasehold-").tempdir_in("/dev/shm").unwrap();
    let site = site(Some(&memory.path().join("secrets")));
    schedule(&site, count, "30d");
    let broker = Daemon::start(&site).await;
    write_all(&site, count).await;
    broker.stop().await;
    let began = Instant::now();
    let broker = Daemon::start(&site).await;
    broker.says("the timetable of rotations is made").await;
    Report::note(&format!(
        "{count} secrets: serving, with a timetable, after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = CpuTimes::of(broker.id());
    tokio::time::sleep(LOOK).await;
    let used = CpuTimes::of(broker.id()).since(&before).total().as_secs_f64();
    report.figure("scheduler_idle_cpu", used * 60.0 / LOOK.as_secs_f64(), "s/min", Target::AtMost(0.3));
    broker.stop().await;
}

/// So many secrets that are all due at once, by a new schedule.
async fn per_second(report: &mut Report) {
    let count = number("LEASEHOLD_FIGURES_DUE", 10_000);
    let site = site(None);
    schedule(&site, count, "30d");
    let broker = Daemon::start(&site).await;
    write_all(&site, count).await;
    let mut lines = Lines::at_end(&site.state().join("journal"));
    schedule(&site, count, "1s");
    let cpu = CpuTimes::of(broker.id());
    let began = Instant::now();
    broker.reload(&site).await;
    let mut done = 0;
    while done < count {
        assert!(began.elapsed() < LATEST, "{done} of {count} were rotated\n{}", broker.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
        lines.read(|line| done += usize::from(memchr::memmem::find(line, RETIRED).is_some()));
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    let each = CpuTimes::of(broker.id()).since(&cpu).per_call(done as u64);
    Report::note(&format!(
        "{count} secrets were due; microseconds of the broker's processor for each rotation: {each}"
    ));
    report.figure("rotations_per_second", rate, "1/s", Target::AtLeast(30.0));
    broker.stop().await;
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |n| n.parse().unwrap())
}

/// A site whose back end keeps its files in this folder, or where it always does.
fn site(folder: Option<&Path>) -> Site {
    let place = folder.map_or(String::new(), |folder| format!("dir = \"{}\"\n", folder.display()));
    let more = format!(
        "[rotation]\nat_once = 64\ncatch_up = \"0s\"\n[[provider]]\nname = \"main\"\nkind = \"local\"\n{place}"
    );
    let site = Site::new(Plan { more, ..Plan::default() });
    std::fs::create_dir(site.path("secrets.d")).unwrap();
    site.write("policies/20-scheduler.cedar", include_str!("../../config/policies/30-scheduler.cedar"));
    site
}

fn schedule(site: &Site, count: usize, every: &str) {
    let mut text = String::new();
    for n in 0..count {
        let rotation = format!("strategy = \"generate\", every = \"{every}\", drain_deadline = \"0s\"");
        writeln!(
            text,
            "[[secret]]\npath = \"prod/app/{n}\"\nprovider = \"main\"\nref = \"app-{n}\"\nrotation = {{ {rotation} }}"
        )
        .unwrap();
    }
    site.write("secrets.d/scheduled.toml", &text);
}

/// A first version of each.
async fn write_all(site: &Site, count: usize) {
    let client: Arc<Client> = Arc::new(daemon::operator(site).await);
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for first in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            for n in (first..count).step_by(WRITERS) {
                let write = Write {
                    secret: format!("prod/app/{n}").parse().unwrap(),
                    value: SecretValue::plain(format!("a-first-password-of-its-own-{n}")),
                    expected: None,
                    request_id: None,
                };
                client.operator().write_secret(write).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    Report::note(&format!("{count} secrets were written within {:.1} s", began.elapsed().as_secs_f64()));
}
