//! The coming end of the broker's own credentials at its back ends, told to people in time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use leasehold_core::{
    Timestamp,
    provider::{ProviderName, SignIn},
    ttl::{after, until},
};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::engine::Engine;

/// How often it is looked at: nobody is asked for it.
const PERIOD: Duration = Duration::from_secs(30);
/// With less than this left, a renewal that failed is worth a warning, however long they lived.
const SOON: Duration = Duration::from_secs(3600);

/// How urgent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// Nothing to tell.
    #[default]
    None,
    /// They end soon, and could not be renewed.
    Soon,
    /// They have ended.
    Over,
}

/// What is known of one back end's credentials.
#[derive(Debug, Default)]
struct Watched {
    /// The end as last seen, and when it was seen first: their life, as far as the broker knows it.
    life: Option<(Timestamp, Timestamp)>,
    told: Alarm,
}

impl Engine {
    /// Watches over the broker's own credentials until `stop` says true, and writes into the log when they come to an
    /// end and could not be renewed: when less than a tenth of their life is left, or less than an hour.
    pub async fn watch_sign_ins(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut watched = BTreeMap::<ProviderName, Watched>::new();
        while !*stop.borrow_and_update() {
            for (name, upstream) in &self.upstreams {
                let sign_in = upstream.provider.sign_in();
                watched.entry(name.clone()).or_default().look(name, &sign_in, self.now());
            }
            tokio::select! {
                _ = self.clock.sleep_until(after(self.now(), PERIOD)) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Watched {
    fn look(&mut self, name: &ProviderName, sign_in: &SignIn, now: Timestamp) {
        let alarm = self.judge(sign_in, now);
        let before = std::mem::replace(&mut self.told, alarm);
        if alarm == before {
            return;
        }
        let problem = sign_in.problem.as_deref().unwrap_or("they were not renewed");
        match (alarm, sign_in.expires_at) {
            (Alarm::Soon, Some(end)) => warn!(provider = %name, ends_at = %end, problem,
                "the broker's own credentials end soon and could not be renewed: look at `leasehold provider check {name}`"),
            (Alarm::Over, Some(end)) => error!(provider = %name, ended_at = %end, problem,
                "the broker's own credentials have ended: look at `leasehold provider check {name}`"),
            _ => info!(provider = %name, "the broker's own credentials are good again"),
        }
    }

    fn judge(&mut self, sign_in: &SignIn, now: Timestamp) -> Alarm {
        let Some(end) = sign_in.expires_at else {
            self.life = None;
            return Alarm::None;
        };
        let since = match self.life {
            Some((known, since)) if known == end => since,
            _ => now,
        };
        self.life = Some((end, since));
        if end <= now {
            return Alarm::Over;
        }
        let left = until(now, end);
        let soon = left < SOON || left.saturating_mul(10) < until(since, end);
        if soon && sign_in.problem.is_some() { Alarm::Soon } else { Alarm::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sign_in(end: i64, problem: bool) -> SignIn {
        SignIn { expires_at: Some(at(end)), problem: problem.then(|| "refused".to_owned()) }
    }

    #[test]
    fn a_renewal_that_failed_is_told_when_little_is_left() {
        let day = 86_400;
        let mut watched = Watched::default();
        assert_eq!(watched.judge(&sign_in(10 * day, true), at(0)), Alarm::None);
        assert_eq!(watched.judge(&sign_in(10 * day, true), at(9 * day - 1)), Alarm::None);
        assert_eq!(watched.judge(&sign_in(10 * day, true), at(9 * day + 1)), Alarm::Soon);
        assert_eq!(watched.judge(&sign_in(10 * day, false), at(10 * day - 1)), Alarm::None);
        assert_eq!(watched.judge(&sign_in(10 * day, false), at(10 * day)), Alarm::Over);
        assert_eq!(watched.judge(&sign_in(20 * day, false), at(10 * day)), Alarm::None);
    }

    #[test]
    fn short_lives_are_judged_by_the_hour_and_endless_ones_not_at_all() {
        let mut watched = Watched::default();
        assert_eq!(watched.judge(&sign_in(7200, true), at(3500)), Alarm::None);
        assert_eq!(watched.judge(&sign_in(7200, true), at(3601)), Alarm::Soon);
        let endless = SignIn { expires_at: None, problem: Some("refused".to_owned()) };
        assert_eq!(watched.judge(&endless, at(9000)), Alarm::None);
    }
}
