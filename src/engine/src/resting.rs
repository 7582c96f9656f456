//! Which back ends are given a rest, for whoever tells the broker's health.

use std::collections::BTreeMap;

use leasehold_core::{
    Timestamp,
    provider::{ProviderName, SignIn},
};
use tokio::sync::watch;

use crate::engine::Engine;

/// The back ends whose circuits are open, and until when.
pub type Rests = BTreeMap<ProviderName, Timestamp>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Resting(watch::Sender<Rests>);

impl Resting {
    pub(crate) fn tell(&self, name: &ProviderName, until: Option<Timestamp>) {
        self.0.send_modify(|rests| match until {
            Some(until) => drop(rests.insert(name.clone(), until)),
            None => drop(rests.remove(name)),
        });
    }
}

impl Engine {
    /// The back ends that are not asked because they keep failing, each with the end of its rest, as that changes. An
    /// end that has passed means that the next call tries.
    pub fn resting(&self) -> watch::Receiver<Rests> {
        self.resting.0.subscribe()
    }

    /// How the broker itself stands with each back end, in the order of their names. Asks nobody.
    pub fn sign_ins(&self) -> impl Iterator<Item = (&ProviderName, SignIn)> {
        self.upstreams.iter().map(|(name, upstream)| (name, upstream.provider.sign_in()))
    }

    /// Returns at `deadline` by the broker's clock, or earlier when the clock may have been set.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        self.clock.sleep_until(deadline).await;
    }
}
