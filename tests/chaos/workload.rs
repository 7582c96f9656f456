//! The crowd: each of it takes leases, renews them and gives them back, and goes on when nobody answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use leasehold_client::{Client, Error, Issue, IssuedLease};
use leasehold_core::{LeaseId, RequestId, SecretValue, record::Kind};
use leasehold_tests::{
    seed::Seed,
    site::{SECRET, Site},
};
use tokio::{
    sync::{RwLock, RwLockWriteGuard},
    task::JoinSet,
    time::sleep,
};

use crate::{book::Book, scene::USER};

/// All of them at work, until dropped.
pub(crate) struct Crowd {
    /// Held by each during a call; whoever takes it whole has peace.
    gate: Arc<RwLock<()>>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

struct Workload {
    seed: Seed,
    book: Book,
    site: Arc<Site>,
    client: Option<Client>,
    /// Its leases, the latest last.
    own: Vec<LeaseId>,
    /// What was asked for and not answered: it is asked for again under the same name.
    again: Option<(Issue, u32)>,
}

const SIZE: usize = 6;
/// How often it asks again under the same name.
const TRIES: u32 = 3;
/// Whoever is not answered within this goes on.
const PATIENCE: Duration = Duration::from_secs(6);

impl Crowd {
    pub(crate) fn start(site: &Arc<Site>, book: &Book, seed: &mut Seed) -> Self {
        let (gate, over) = <(Arc<RwLock<()>>, Arc<AtomicBool>)>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..SIZE {
            let mut workload = Workload {
                seed: seed.split(),
                book: book.clone(),
                site: site.clone(),
                client: None,
                own: Vec::new(),
                again: None,
            };
            let (gate, over) = (gate.clone(), over.clone());
            tasks.spawn(async move {
                while !over.load(SeqCst) {
                    let turn = gate.read().await;
                    workload.act().await;
                    drop(turn);
                    sleep(Duration::from_millis(workload.seed.within(5..60))).await;
                }
            });
        }
        Self { gate, over, tasks }
    }

    /// Waits until no call is under way, and lets none begin meanwhile.
    pub(crate) async fn peace(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Ends it.
    pub(crate) async fn disperse(mut self) {
        self.over.store(true, SeqCst);
        while let Some(done) = self.tasks.join_next().await {
            done.expect("a workload does not panic");
        }
    }
}

impl Workload {
    async fn act(&mut self) {
        let (what, done) = match self.seed.within(0..10) {
            _ if self.again.is_some() => ("issue", self.issue().await),
            5..8 if !self.own.is_empty() => ("renew", self.renew().await),
            8..10 if !self.own.is_empty() => ("revoke", self.revoke().await),
            _ => ("issue", self.issue().await),
        };
        let why = match &done {
            Ok(()) => "answered",
            Err(error) => error.reason().unwrap_or("no answer"),
        };
        self.book.open().count(format!("{what}: {why}"));
        if matches!(&done, Err(error) if error.reason().is_none()) {
            self.client = None;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn client(&mut self) -> Result<Client, Error> {
        if self.client.is_none() {
            let builder = self.site.client("workload");
            self.client = Some(builder.connect_timeout(PATIENCE).request_timeout(PATIENCE).connect().await?);
        }
        Ok(self.client.clone().expect("it was just made"))
    }

    async fn issue(&mut self) -> Result<(), Error> {
        let (issue, tried) = match self.again.take() {
            Some(again) => again,
            None => (self.wish(), 0),
        };
        let result = match self.client().await {
            Ok(client) => client.issue_lease(issue.clone()).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(IssuedLease { lease, value }) => {
                self.own.push(lease.id);
                self.book.open().given(lease, user(&value));
                Ok(())
            }
            Err(error) => {
                self.book.open().in_vain += 1;
                // An answer is the last word on it; without one it is asked for again.
                self.again = (error.reason().is_none() && tried < TRIES).then_some((issue, tried + 1));
                Err(error)
            }
        }
    }

    fn wish(&mut self) -> Issue {
        let secret = if self.seed.within(0..5) == 0 { SECRET } else { USER };
        let id: RequestId = format!("chaos-{}", self.seed.within(0..u64::MAX)).parse().expect("an id");
        Issue {
            secret: secret.parse().expect("a path"),
            ttl: Some(Duration::from_millis(self.seed.within(2_000..12_000))),
            fields: Vec::new(),
            request_id: Some(id),
        }
    }

    async fn renew(&mut self) -> Result<(), Error> {
        let id = self.one_of_the_latest();
        let ttl = Duration::from_millis(self.seed.within(2_000..15_000));
        let client = self.client().await?;
        self.book.of(id, |held| held.more_time = true);
        match client.renew_lease(id, Some(ttl)).await {
            Ok(lease) => {
                let mut book = self.book.open();
                book.facts.push((Kind::LeaseRenewed, id, Some(lease.expires_at)));
                let held = book.held.get_mut(&id).expect("it is its own");
                (held.lease, held.more_time) = (lease, false);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn revoke(&mut self) -> Result<(), Error> {
        let id = self.one_of_the_latest();
        let client = self.client().await?;
        self.book.of(id, |held| held.to_end = true);
        client.revoke_lease(id, None).await?;
        self.book.of(id, |held| held.given_back = true);
        self.own.retain(|own| *own != id);
        Ok(())
    }

    fn one_of_the_latest(&mut self) -> LeaseId {
        let from = self.own.len().saturating_sub(12);
        *self.seed.pick(&self.own[from..])
    }
}

/// Takes a user of the database and gives it back: whether everything works again.
pub(crate) async fn probe(site: &Site) -> Result<(), String> {
    let said = |error: Error| format!("{error:?}");
    let client = site.client("workload").request_timeout(PATIENCE).connect().await.map_err(said)?;
    let secret = USER.parse().expect("a path");
    let issue = Issue { secret, ttl: Some(Duration::from_secs(5)), fields: Vec::new(), request_id: None };
    let issued = client.issue_lease(issue).await.map_err(said)?;
    client.revoke_lease(issued.lease.id, None).await.map_err(said)?;
    Ok(())
}

fn user(value: &SecretValue) -> Option<(String, String)> {
    let field = |name: &str| {
        let bytes = value.fields.get(&name.parse().expect("a field's name"))?.expose().to_vec();
        Some(String::from_utf8(bytes).expect("text"))
    };
    Some((field("username")?, field("password")?))
}
