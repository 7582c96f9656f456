//! The standard health service (`grpc.health.v1`): serving while the ledger takes commits and the broker does not end.
//! The empty name is the broker as a whole; every service has its own name too, and every back end has one as
//! `leasehold.provider.NAME`: not serving while it is given a rest, or when the broker's own credentials there are over.
//! `leasehold.rotation` is not serving while a secret's version is older than its `max_age`.
//! `leasehold.hold` is not serving while the broker is on hold: it serves then, but ends nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use leasehold_core::ttl::after;
use leasehold_engine::Engine;
use leasehold_ledger::LedgerHealth;
use leasehold_proto::v1::{
    lease_service_server::SERVICE_NAME as LEASES, operator_service_server::SERVICE_NAME as OPERATORS,
};
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

/// The broker's own names.
const NAMES: [&str; 3] = ["", LEASES, OPERATORS];
/// Whether what is due is ended.
const HOLD: &str = "leasehold.hold";
/// Whether every secret's version is as young as it should be.
const ROTATION: &str = "leasehold.rotation";
/// How often the broker's own credentials are looked at: the back ends do not tell when they end.
const PERIOD: Duration = Duration::from_secs(30);

/// Tells the health as it changes, until the broker ends.
pub(super) async fn report(
    reporter: HealthReporter,
    engine: Arc<Engine>,
    mut ledger: watch::Receiver<LedgerHealth>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = Told { reporter, statuses: BTreeMap::new() };
    let mut resting = engine.resting();
    let mut hold = engine.hold_changes();
    let mut too_old = engine.too_old_versions();
    loop {
        let ok = matches!(*ledger.borrow_and_update(), LedgerHealth::Ok);
        let stopping = *stop.borrow_and_update();
        let rests = resting.borrow_and_update().clone();
        let held = hold.borrow_and_update().is_some();
        let aged = too_old.borrow_and_update().count > 0;
        let now = engine.now();
        for name in NAMES {
            told.tell(name, ok && !stopping).await;
        }
        told.tell(HOLD, !held && !stopping).await;
        told.tell(ROTATION, !aged && !stopping).await;
        for (name, sign_in) in engine.sign_ins() {
            let rests = rests.get(name).is_some_and(|until| now < *until);
            let over = sign_in.expires_at.is_some_and(|end| end <= now);
            told.tell(&format!("leasehold.provider.{name}"), !rests && !over && !stopping).await;
        }
        if stopping {
            return;
        }
        let rested = rests.values().copied().filter(|until| now < *until);
        let next = rested.chain([after(now, PERIOD)]).min().unwrap_or(now);
        let changed = tokio::select! {
            changed = ledger.changed() => changed,
            changed = stop.changed() => changed,
            changed = resting.changed() => changed,
            changed = hold.changed() => changed,
            changed = too_old.changed() => changed,
            () = engine.sleep_until(next) => Ok(()),
        };
        // Whoever owned them is gone, and so is the broker.
        if changed.is_err() {
            return told.nothing_serves().await;
        }
    }
}

/// What was told last, so that nobody who watches is told it twice.
struct Told {
    reporter: HealthReporter,
    statuses: BTreeMap<String, bool>,
}

impl Told {
    async fn tell(&mut self, name: &str, serving: bool) {
        if self.statuses.get(name) == Some(&serving) {
            return;
        }
        self.statuses.insert(name.to_owned(), serving);
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }

    async fn nothing_serves(mut self) {
        for name in self.statuses.keys().cloned().collect::<Vec<_>>() {
            self.tell(&name, false).await;
        }
    }
}
