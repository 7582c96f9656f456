//! Workloads that issue, renew and revoke until the broker is gone, and remember every answer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use leasehold_client::{Client, Error, Issue, Lease, LeaseState};
use leasehold_core::{LeaseId, RequestId, record::Kind, secret::FieldName};
use leasehold_tests::site::{SECRET, Site};
use tokio::task::JoinSet;

use crate::{
    acknowledged::{Ask, Fact, Held},
    seed::Seed,
};

/// The value of the secret that is leased.
pub(crate) const VALUE: &str = "correct horse battery staple";

/// One workload. Its leases are its own, so that at most one call for each is on its way.
pub(crate) struct Workload {
    seed: Seed,
    /// Its leases in the order of their first answers.
    pub(crate) held: Vec<Held>,
    /// A request for a lease that was not answered; it is made again first of all.
    unanswered: Option<RequestId>,
    /// What it was told since the facts were last taken.
    pub(crate) facts: Vec<Fact>,
}

/// The workloads at work.
pub(crate) struct Running {
    tasks: JoinSet<(Workload, Option<Error>)>,
    may_fail: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Workload {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed, held: Vec::new(), unanswered: None, facts: Vec::new() }
    }

    /// Takes back what was asked last: the broker has said that it did not happen.
    pub(crate) fn was_refused(&mut self) {
        self.unanswered = None;
        self.held.iter_mut().for_each(|held| held.asked = None);
    }

    /// Works until `over` or until a call fails.
    async fn work(&mut self, client: &Client, may_fail: &AtomicBool, over: &AtomicBool) -> Option<Error> {
        while !over.load(SeqCst) {
            let active = |held: &Held| held.lease.state == LeaseState::Active;
            // The latest leases, so that those from before the last crashes are left as they were.
            let from = self.held.len().saturating_sub(20);
            let some: Vec<usize> = (from..self.held.len()).filter(|at| active(&self.held[*at])).collect();
            let result = match self.seed.within(0..10) {
                _ if self.unanswered.is_some() => self.issue(client).await,
                4..7 if !some.is_empty() => self.renew(client, *self.seed.clone().pick(&some)).await,
                7..10 if !some.is_empty() => self.revoke(client, *self.seed.clone().pick(&some)).await,
                _ => self.issue(client).await,
            };
            if let Err(error) = result {
                assert!(may_fail.load(SeqCst), "a call failed while the broker was well: {error:?}");
                return Some(error);
            }
        }
        None
    }

    /// Checks every lease against what the broker lists, and the last ones against the lease itself too.
    ///
    /// # Panics
    /// When something that was acknowledged is not so.
    pub(crate) async fn check(&mut self, client: &Client, listed: &HashMap<LeaseId, Lease>) {
        for held in self.held.iter().rev().take(3) {
            let got = client.get_lease(held.lease.id).await.expect("an acknowledged lease is there");
            assert_eq!(listed.get(&got.id), Some(&got), "the list and the lease itself differ");
        }
        for held in &mut self.held {
            let found = listed.get(&held.lease.id);
            held.check(found.unwrap_or_else(|| panic!("acknowledged and gone: {held:#?}")));
        }
    }

    async fn issue(&mut self, client: &Client) -> Result<(), Error> {
        let new = || format!("crash-{}", self.seed.within(0..u64::MAX)).parse().expect("an id");
        let id: RequestId = self.unanswered.take().unwrap_or_else(new);
        self.unanswered = Some(id.clone());
        // The same for the same id: a request that differs is refused.
        let ttl = Duration::from_secs(900 + id.as_str().len() as u64);
        let secret = SECRET.parse().expect("a path");
        let issue = Issue { secret, ttl: Some(ttl), fields: Vec::new(), request_id: Some(id) };
        let issued = client.issue_lease(issue).await?;
        assert_eq!(issued.value.fields[&FieldName::value()].expose(), VALUE.as_bytes());
        self.unanswered = None;
        self.facts.push((Kind::LeaseIssued, issued.lease.id, Some(issued.lease.expires_at)));
        self.held.push(Held { lease: issued.lease, asked: None });
        Ok(())
    }

    async fn renew(&mut self, client: &Client, at: usize) -> Result<(), Error> {
        let ttl = Duration::from_secs(self.seed.within(1000..3000));
        let held = &mut self.held[at];
        held.asked = Some(Ask::Renew);
        let lease = client.renew_lease(held.lease.id, Some(ttl)).await?;
        self.facts.push((Kind::LeaseRenewed, lease.id, Some(lease.expires_at)));
        held.check(&lease);
        Ok(())
    }

    async fn revoke(&mut self, client: &Client, at: usize) -> Result<(), Error> {
        let held = &mut self.held[at];
        held.asked = Some(Ask::Revoke);
        let lease = client.revoke_lease(held.lease.id, None).await?;
        self.facts.push((Kind::LeaseRevoked, lease.id, None));
        held.check(&lease);
        Ok(())
    }
}

impl Running {
    /// Sets the workloads to work over a few connections.
    pub(crate) async fn start(site: &Site, workloads: Vec<Workload>) -> Self {
        let (may_fail, over) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(site.client("workload").connect().await.expect("the broker serves the workload"));
        }
        let mut tasks = JoinSet::new();
        for (n, mut workload) in workloads.into_iter().enumerate() {
            let client = clients[n % clients.len()].clone();
            let (may_fail, over) = (may_fail.clone(), over.clone());
            tasks.spawn(async move {
                let error = workload.work(&client, &may_fail, &over).await;
                (workload, error)
            });
        }
        Self { tasks, may_fail, over }
    }

    /// Says that from now on calls may fail. To be said before anything is done that makes one fail.
    pub(crate) fn may_fail(&self) {
        self.may_fail.store(true, SeqCst);
    }

    /// Ends the work when all calls have been answered.
    pub(crate) fn end(&self) {
        self.over.store(true, SeqCst);
    }

    /// Waits for all of them; gives back the errors with which some ended.
    pub(crate) async fn finish(mut self) -> (Vec<Workload>, Vec<Error>) {
        let (mut workloads, mut errors) = (Vec::new(), Vec::new());
        while let Some(done) = self.tasks.join_next().await {
            let (workload, error) = done.expect("a workload does not panic");
            workloads.push(workload);
            errors.extend(error);
        }
        (workloads, errors)
    }
}
