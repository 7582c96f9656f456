//! Asks the broker, no oftener than there is a reason to: each of these questions leaves a record in its journal.

use std::{cell::Cell, rc::Rc, time::Duration};

use leasehold_client::{Lease, LeaseFilter, LeaseState, Operator, RotationFilter};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep},
};

use super::news::{Listing, News, Record, Trouble};
use crate::rotation::RotationView;

/// What the audit tail tells whoever asks.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Whether there is a tail.
    pub(super) tail: Cell<bool>,
    pub(super) leases: Cell<bool>,
    pub(super) rotations: Cell<bool>,
    /// The journal's last record, as the status has it.
    pub(super) head: Cell<i64>,
}

/// When a question is asked again.
#[derive(Debug, Default)]
struct Turn {
    asked: Option<(Instant, Duration)>,
}

/// How long a question rests that policy refused: a denial leaves a record too, and policies seldom change.
pub(super) const REFUSED: Duration = Duration::from_secs(60);
/// While the tail tells of no change, listings are asked for so often.
const UNCHANGED: Duration = Duration::from_secs(30);
/// The longest rest of a broker that is away.
const LONGEST: Duration = Duration::from_secs(30);
/// How many leases and rotations are asked for.
const FIRST: u32 = 500;
/// Leases that are not over.
const LIVE: [LeaseState; 4] =
    [LeaseState::Active, LeaseState::Pending, LeaseState::Revoking, LeaseState::Quarantined];

/// Asks for ever.
pub(super) async fn ask(operator: &Operator, interval: Duration, hints: Rc<Hints>, news: Sender<News>) {
    let [mut status, mut leases, mut rotations] = [Turn::default(), Turn::default(), Turn::default()];
    let mut tries = 0_u32;
    loop {
        let mut away = false;
        if status.is_due(false) {
            let answer = about_status(operator, &hints).await;
            away = status.take(&answer, interval);
            if news.send(News::Status(answer)).await.is_err() {
                return;
            }
        }
        let unchanged = if hints.tail.get() { UNCHANGED } else { interval.saturating_mul(5) };
        if !away && leases.is_due(hints.leases.take()) {
            let answer = about_leases(operator).await;
            away = leases.take(&answer, unchanged);
            if news.send(News::Leases(answer)).await.is_err() {
                return;
            }
        }
        if !away && rotations.is_due(hints.rotations.take()) {
            let answer = about_rotations(operator).await;
            away = rotations.take(&answer, unchanged);
            if news.send(News::Rotations(answer)).await.is_err() {
                return;
            }
        }
        if away {
            // Once it is back, all of it may be different.
            hints.leases.set(true);
            hints.rotations.set(true);
        }
        tries = if away { tries.saturating_add(1) } else { 0 };
        sleep(patience(interval, tries)).await;
    }
}

/// The broker's state.
pub(super) async fn about_status(
    operator: &Operator,
    hints: &Hints,
) -> Result<Box<leasehold_client::proto::BrokerStatus>, Trouble> {
    let status = operator.status().await?;
    hints.head.set(status.ledger.as_ref().map(|ledger| ledger.head_sequence).unwrap_or_default());
    Ok(Box::new(status))
}

/// The first of the leases that are not over.
pub(super) async fn about_leases(operator: &Operator) -> Result<Listing<Lease>, Trouble> {
    let filter = LeaseFilter { states: LIVE.to_vec(), ..LeaseFilter::default() };
    let page = operator.list_leases(filter, FIRST, None).await?;
    Ok(Listing { more: page.next_page_token.is_some(), items: page.items })
}

/// The first of the secrets that are rotated.
pub(super) async fn about_rotations(operator: &Operator) -> Result<Listing<RotationView>, Trouble> {
    let page = operator.list_rotations(&RotationFilter::default(), FIRST, None).await?;
    let items = page.items.iter().map(RotationView::of).collect();
    Ok(Listing { more: page.next_page_token.is_some(), items })
}

/// How long to wait after so many tries in vain.
pub(super) fn patience(interval: Duration, tries: u32) -> Duration {
    interval.saturating_mul(2_u32.saturating_pow(tries.min(8))).min(LONGEST.max(interval))
}

impl Hints {
    /// Takes note of what a record changes.
    pub(super) fn note(&self, record: &Record) {
        if record.changes_leases() {
            self.leases.set(true);
        }
        if record.changes_rotations() {
            self.rotations.set(true);
        }
    }
}

impl Turn {
    /// Whether it is asked now: when there is a reason, or it has rested for long enough.
    fn is_due(&self, reason: bool) -> bool {
        match self.asked {
            None => true,
            Some((at, rest)) => (reason && rest != REFUSED) || at.elapsed() >= rest,
        }
    }

    /// Takes note of the answer, which is asked for again after `rest`. Whether nobody answered.
    fn take<T>(&mut self, answer: &Result<T, Trouble>, rest: Duration) -> bool {
        let rest = match answer {
            Ok(_) => rest,
            Err(Trouble::NotAllowed) => REFUSED,
            Err(Trouble::Away(_)) => Duration::ZERO,
        };
        self.asked = Some((Instant::now(), rest));
        matches!(answer, Err(Trouble::Away(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_asked_less_and_less() {
        let seconds = Duration::from_secs;
        let waits: Vec<_> = (0..6).map(|tries| patience(seconds(2), tries).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
        assert_eq!(patience(seconds(60), 9), seconds(60));
    }

    #[test]
    fn a_question_is_asked_when_something_changed_or_after_a_rest() {
        let after = |turn: &Turn, time: Duration| Turn {
            asked: turn.asked.map(|(at, rest)| (at.checked_sub(time).unwrap(), rest)),
        };
        let mut turn = Turn::default();
        assert!(turn.is_due(false));
        assert!(!turn.take(&Ok(()), UNCHANGED));
        assert!(!turn.is_due(false) && turn.is_due(true));
        assert!(after(&turn, UNCHANGED).is_due(false));
        assert!(!turn.take::<()>(&Err(Trouble::NotAllowed), UNCHANGED));
        assert!(!turn.is_due(true), "a denial leaves a record each time");
        assert!(after(&turn, REFUSED).is_due(false), "policies change");
        assert!(turn.take::<()>(&Err(Trouble::Away("gone".into())), UNCHANGED));
        assert!(turn.is_due(false));
    }
}
