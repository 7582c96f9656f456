//! One site after the other: a crowd at work, troubles in rounds, a judgement after each, and at last nothing left.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    time::Duration,
};

use leasehold_audit::Head;
use leasehold_core::LeaseId;
use leasehold_provider_conformance::{
    peers::{Session, or_skip},
    proxy::FaultProxy,
};
use leasehold_tests::{
    evidence::{one_lease_a_request, recorded, verified},
    seed::Seed,
};
use tokio::time::{Instant, sleep};

use crate::{book::Book, database::Database, oracle, scene::Scene, trouble::Trouble, workload::Crowd};

const SEED: &str = "LEASEHOLD_CHAOS_SEED";
const SECONDS: u64 = 80;
/// How often the crowd is troubled at one site.
const ROUNDS: usize = 3;
/// What the broker has not done after so long when nothing is in its way is not done.
const LATE: Duration = Duration::from_secs(20);
/// So many users open a session in each round.
const SESSIONS: usize = 3;
/// Longer than the broker leaves an attempt alone that a crash has cut short.
const SKIPPED: i64 = 70_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_orphaned_lost_or_doubled_whatever_dies_when() {
    let seconds = env::var("LEASEHOLD_CHAOS_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    let Some(mut database) = or_skip(Database::start().await).unwrap() else { return };
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let mut seed = Seed::from_env(SEED);
    let (began, mut answers, mut sites) = (Instant::now(), BTreeMap::new(), 0_u64);
    while sites == 0 || began.elapsed() < Duration::from_secs(seconds) {
        let name = format!("{SEED}={}", seed.number());
        let scene = Scene::new(&mut database, &proxy, format!("s{sites}")).await;
        let site = Storm { name, told: Vec::new(), scene, book: Book::default(), sessions: Vec::new() };
        for (what, count) in site.run(&mut seed.split()).await {
            *answers.entry(what).or_insert(0) += count;
        }
        sites += 1;
    }
    eprintln!("{sites} sites, {} troubled requests: {answers:#?}", proxy.played());
    assert!(
        answers.get("issue: answered").is_some_and(|issued| *issued > 20 * sites),
        "hardly anything was done"
    );
}

/// What happens at one site.
struct Storm<'a> {
    name: String,
    told: Vec<String>,
    scene: Scene<'a>,
    book: Book,
    /// What users have open; it must end with their leases.
    sessions: Vec<(LeaseId, Session)>,
}

impl Storm<'_> {
    /// Returns how often which call was answered how.
    async fn run(mut self, seed: &mut Seed) -> BTreeMap<String, u64> {
        eprintln!("{}", self.name);
        let crowd = Crowd::start(&self.scene.site, &self.book, seed);
        for round in 0..ROUNDS {
            sleep(Duration::from_millis(seed.within(200..1_500))).await;
            self.plant(seed).await;
            for _ in 0..seed.within(1..4) {
                if seed.within(0..3) == 0 {
                    self.told.push("revoke all".to_owned());
                    self.scene.revoke_all(&self.book).await;
                }
                sleep(Duration::from_millis(seed.within(100..1_000))).await;
                let trouble = Trouble::new(seed);
                eprintln!("  round {round}: {trouble}");
                self.told.push(trouble.to_string());
                trouble.befall(&mut self.scene).await;
                // As a service is started again.
                self.scene.try_start().await;
            }
            self.scene.recover().await;
            let peace = crowd.peace().await;
            // What was asked last may have ended the broker after all.
            self.scene.recover().await;
            self.judge().await;
            drop(peace);
        }
        crowd.disperse().await;
        self.end().await;
        std::mem::take(&mut self.book.open().answers)
    }

    /// Makes an orphan now and then, and has some of those who hold a user open a session.
    async fn plant(&mut self, seed: &mut Seed) {
        if seed.within(0..2) == 0 {
            self.scene.plant(seed).await;
        }
        let users: Vec<_> = {
            let book = self.book.open();
            let held = book.held.values().filter(|held| !book.is_to_end(held).0);
            held.filter_map(|held| Some((held.lease.id, held.user.clone()?))).collect()
        };
        for (lease, (name, password)) in users.into_iter().take(SESSIONS) {
            // It may be over since.
            if let Ok(session) = self.scene.database.server().open(&name, &password, "postgres").await {
                self.sessions.push((lease, session));
            }
        }
    }

    /// Nothing is wrong, and nothing stays late.
    async fn judge(&self) {
        let deadline = Instant::now() + LATE;
        loop {
            let findings = oracle::judge(&self.scene, &self.book).await;
            self.insist(&findings.wrong);
            if findings.late.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                self.insist(&findings.late);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The time comes for everything that was left to be done, and then nothing is left.
    async fn end(&mut self) {
        let mut remains = Vec::new();
        for round in 0..30 {
            // Time that passes makes all that is left due at once. On a busy machine the database answers some of them too
            // late, and each attempt in vain makes the next one later: what goes on is left to itself.
            let patience = if round == 0 { LATE / 10 } else { LATE / 4 };
            let (mut fewest, mut deadline) = (usize::MAX, Instant::now());
            loop {
                remains = oracle::remains(&self.scene).await;
                if remains.len() < fewest {
                    (fewest, deadline) = (remains.len(), Instant::now() + patience);
                }
                if remains.is_empty() || Instant::now() > deadline {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
            if remains.is_empty() {
                break;
            }
            self.scene.sleep(SKIPPED);
        }
        self.insist(&remains);
        self.insist(&oracle::nobody_gets_in(&self.scene, &self.book).await.wrong);
        self.insist(&oracle::judge(&self.scene, &self.book).await.wrong);
        self.insist(&oracle::unfinished(&self.scene, &self.book).await);
        for (lease, session) in std::mem::take(&mut self.sessions) {
            if session.run("select 1").await.is_ok() {
                self.insist(&[(Some(lease), format!("a session outlives {lease}"))]);
            }
        }
        self.scene.stop().await;
        let journal = self.scene.site.state().join("journal");
        verified(&journal, Head::START);
        recorded(&journal, Head::START, &self.book.open().facts);
        one_lease_a_request(&journal);
    }

    /// Fails when something was found, with all that is known of it.
    fn insist(&self, found: &[(Option<LeaseId>, String)]) {
        if found.is_empty() {
            return;
        }
        let leases: HashSet<_> = found.iter().filter_map(|(lease, _)| *lease).take(5).collect();
        let messages: Vec<_> = found.iter().take(20).map(|(_, message)| message.as_str()).collect();
        panic!(
            "{} after {:#?}:\n\n{}\n\nthe journal of {leases:?}:\n{}\n\nthe broker's log:\n{}",
            self.name,
            self.told,
            messages.join("\n"),
            self.journal_of(&leases),
            self.scene.log(),
        );
    }

    fn journal_of(&self, leases: &HashSet<LeaseId>) -> String {
        let journal = self.scene.site.state().join("journal");
        let Ok(entries) = leasehold_audit::read(&journal, 1) else { return "cannot be read".to_owned() };
        let records = entries.filter_map(|entry| Some(entry.ok()?.record));
        let records = records.filter(|record| record.lease.is_some_and(|lease| leases.contains(&lease)));
        let lines: Vec<_> = records
            .map(|record| {
                let (time, kind, lease) = (record.time, record.kind, record.lease);
                format!(
                    "{time} {kind} {lease:?} {:?} {:?} {:?}",
                    record.outcome, record.expires_at, record.details
                )
            })
            .collect();
        lines.join("\n")
    }
}
