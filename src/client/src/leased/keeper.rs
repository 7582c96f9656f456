//! The task behind a guard: it renews, replaces, tells and gives back.
//!
//! One loop waits for whatever comes first and hands it to a method that does not wait. Calls to the broker run beside
//! it, one at a time, so that a lease's end and the holder's word are never held up by a broker that is silent.

mod parting;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that meets one of these has failed")]
mod tests;

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use leasehold_core::{LeaseId, RequestId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use self::parting::{CLOSING, PARTING};
use super::{
    Holding, Standing, WhyEnded,
    change::Told,
    hub::{Expecting, Heard, Listening},
    span::Span,
};
use crate::{Error, IssuedLease, Lease, backoff::Backoff};

/// What a guard needs of the broker: each call is made once.
pub(crate) trait Broker: Clone + Send + Sync + 'static {
    /// Takes a lease on the guard's secret. The same request gives the same lease.
    fn issue(
        &self,
        request: Option<RequestId>,
    ) -> impl Future<Output = Result<IssuedLease, Error>> + Send + 'static;
    /// Moves a lease's end.
    fn renew(&self, lease: LeaseId) -> impl Future<Output = Result<Lease, Error>> + Send + 'static;
    /// Gives a lease back.
    fn revoke(&self, lease: LeaseId) -> impl Future<Output = Result<(), Error>> + Send + 'static;
    /// Announces a lease that is about to be asked for.
    fn expect(&self) -> Expecting;
    /// A name for a request.
    fn request_id(&self) -> Option<RequestId>;
    /// A random number from 0 to 1.
    fn chance(&self) -> f64;
}

/// What the holder says.
#[derive(Debug)]
pub(crate) enum Order {
    /// This lease is in use, and none before it.
    Switched(LeaseId),
    /// Nothing is kept any longer.
    LetRunOut,
    /// Everything is to be given back.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// The guard's state.
pub(crate) struct Keeper<B> {
    broker: B,
    told: watch::Sender<Told>,
    orders: mpsc::UnboundedReceiver<Order>,
    revoke_on_drop: bool,
    /// The newest lease.
    held: Arc<Holding>,
    span: Span,
    listening: Listening,
    /// Leases before it that may be in use still.
    older: VecDeque<Older>,
    giving_back: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The call that is under way.
    work: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// The lease that is being asked for, over all tries.
    asking: Option<Asking>,
    /// When something is to be done next.
    due: Instant,
    failures: u32,
    /// Another lease is wanted, not a renewal.
    replace: bool,
    /// The lease cannot be renewed: only another one helps.
    spent: bool,
    ended: bool,
    /// It is neither renewed nor replaced any more.
    resting: bool,
    last: Option<Step>,
}

/// A lease before the newest.
#[derive(Clone, Copy, Debug)]
struct Older {
    id: LeaseId,
    ends: Instant,
}

#[derive(Clone, Debug)]
struct Asking {
    request: Option<RequestId>,
    since: Instant,
}

/// What a call came to.
enum Done {
    Renewed { asked: Instant, outcome: Result<Lease, Error> },
    Issued { expecting: Expecting, outcome: Result<IssuedLease, Error> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Renew,
    Replace,
}

/// What has happened.
enum Event {
    Due,
    Ended,
    Done(Box<Done>),
    Heard(Heard),
    Order(Option<Order>),
    GivenBack,
}

const BETWEEN: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(15) };
/// A request's name is good for ten minutes at the broker.
const SAME_REQUEST: Duration = Duration::from_secs(9 * 60);

impl<B: Broker> Keeper<B> {
    /// One that has taken a lease that was asked for at `asked`.
    pub(crate) fn new(
        broker: B,
        told: watch::Sender<Told>,
        orders: mpsc::UnboundedReceiver<Order>,
        revoke_on_drop: bool,
        listening: Listening,
        asked: Instant,
    ) -> Self {
        let held = Arc::clone(&told.borrow().holding);
        let span = Span::new(&held.lease, asked);
        let mut keeper = Self {
            due: asked,
            replace: false,
            spent: at_maximum(&held.lease),
            broker,
            told,
            orders,
            revoke_on_drop,
            held,
            span,
            listening,
            older: VecDeque::new(),
            giving_back: FuturesUnordered::new(),
            work: None,
            asking: None,
            failures: 0,
            ended: false,
            resting: false,
            last: None,
        };
        keeper.replace = keeper.spent;
        keeper.due = keeper.next_look();
        keeper
    }

    /// Keeps the lease until the guard is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let event = tokio::select! {
                // The holder's word and the lease's end come before whatever the broker has to say.
                biased;
                order = self.orders.recv() => Event::Order(order),
                () = tokio::time::sleep_until(self.span.ends), if !self.ended => Event::Ended,
                heard = self.listening.next(), if !self.ended => Event::Heard(heard),
                done = working(&mut self.work), if self.work.is_some() => Event::Done(Box::new(done)),
                () = tokio::time::sleep_until(self.due), if self.work.is_none() && !self.resting => Event::Due,
                Some(()) = self.giving_back.next() => Event::GivenBack,
            };
            match event {
                Event::Order(Some(Order::Close(answer))) => {
                    let outcome = self.part(CLOSING).await;
                    let _ = answer.send(outcome);
                    return;
                }
                Event::Order(None) => {
                    if self.revoke_on_drop {
                        let _ = self.part(PARTING).await;
                    } else {
                        // What the holder has let go of is given back all the same.
                        let rest = self.giving_back.collect::<()>();
                        let _ = tokio::time::timeout(PARTING, rest).await;
                    }
                    return;
                }
                event => self.handle(event, Instant::now()),
            }
        }
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Order(Some(Order::Switched(to))) => self.switched(to, now),
            Event::Order(Some(Order::LetRunOut)) => self.resting = true,
            Event::Ended => self.end(WhyEnded::Expired, now),
            Event::Heard(Heard { ended: Some(why), .. }) => self.end(why, now),
            Event::Heard(Heard { rotated: true, .. }) => self.replace_now(now),
            Event::Due => self.work = Some(self.begin(now)),
            Event::Done(done) => {
                self.work = None;
                match *done {
                    Done::Renewed { asked, outcome: Ok(lease) } => self.renewed(lease, asked, now),
                    Done::Renewed { outcome: Err(error), .. } => self.not_renewed(error, now),
                    Done::Issued { outcome: Ok(issued), .. } if self.resting => self.decline(&issued, now),
                    Done::Issued { expecting, outcome: Ok(issued) } => self.replaced(issued, expecting, now),
                    Done::Issued { outcome: Err(error), .. } => self.not_replaced(error, now),
                }
            }
            Event::Heard(_) | Event::GivenBack | Event::Order(_) => {}
        }
        self.older.retain(|older| older.ends > now);
    }

    /// The next call.
    fn begin(&mut self, now: Instant) -> Pin<Box<dyn Future<Output = Done> + Send>> {
        // A lease that is still good is renewed also while another cannot be had.
        let renew_too = !self.spent
            && !self.ended
            && self.last == Some(Step::Replace)
            && self.span.two_thirds(0.5) <= now;
        let step = if self.replace && !renew_too { Step::Replace } else { Step::Renew };
        self.last = Some(step);
        match step {
            Step::Renew => {
                let call = self.broker.renew(self.held.lease.id);
                Box::pin(async move { Done::Renewed { asked: now, outcome: call.await } })
            }
            Step::Replace => {
                let fresh = |asking: &Asking| now.saturating_duration_since(asking.since) < SAME_REQUEST;
                let asking = match self.asking.take().filter(fresh) {
                    Some(asking) => asking,
                    None => Asking { request: self.broker.request_id(), since: now },
                };
                let expecting = self.broker.expect();
                let call = self.broker.issue(asking.request.clone());
                self.asking = Some(asking);
                Box::pin(async move { Done::Issued { expecting, outcome: call.await } })
            }
        }
    }

    fn renewed(&mut self, lease: Lease, asked: Instant, now: Instant) {
        if lease.id != self.held.lease.id || self.ended {
            return;
        }
        self.span = self.span.renewed(&lease, asked);
        self.failures = 0;
        self.spent = at_maximum(&lease);
        // Somebody of the same name has moved it, so the value that is held is not the lease's any more.
        let moved = lease.version != self.held.lease.version;
        let version = self.held.lease.version.clone();
        let lease = Lease { version, ..lease };
        self.held = Arc::new(Holding { lease, value: Arc::clone(&self.held.value), ends: self.span.ends });
        self.replace |= self.spent || moved;
        self.due = if moved { now } else { self.next_look() };
        if self.replace && !self.spent {
            self.due = self.due.min(self.later(now, None));
        }
        self.tell(Standing::Kept);
    }

    fn not_renewed(&mut self, error: Error, now: Instant) {
        match error.reason() {
            Some("LEASE_EXPIRED") => self.end(WhyEnded::Expired, now),
            Some("LEASE_REVOKED") => self.end(WhyEnded::Revoked, now),
            Some("LEASE_AT_MAXIMUM_TTL") => {
                self.spent = true;
                self.replace_now(now);
            }
            _ if may_pass(&error) => self.fail(error, now),
            // It will not be renewed; another one may be had.
            _ => {
                self.replace = true;
                self.fail(error, now);
            }
        }
    }

    fn replaced(&mut self, issued: IssuedLease, expecting: Expecting, now: Instant) {
        let asked = self.asking.take().map_or(now, |asking| asking.since);
        let before = Older { id: self.held.lease.id, ends: self.span.ends };
        if !self.ended {
            self.older.push_back(before);
        }
        self.listening = expecting.listen(issued.lease.id);
        self.span = self.span.followed_by(&issued.lease, asked, now);
        self.spent = at_maximum(&issued.lease);
        self.replace = self.spent;
        self.ended = false;
        self.failures = 0;
        self.last = None;
        self.due = self.next_look();
        let value = Arc::new(issued.value);
        self.held = Arc::new(Holding { lease: issued.lease, value, ends: self.span.ends });
        self.tell(Standing::Kept);
    }

    fn not_replaced(&mut self, error: Error, now: Instant) {
        if !may_pass(&error) {
            // That request was answered: the next one is another.
            self.asking = None;
        }
        self.fail(error, now);
    }

    /// The lease is not to be used any more.
    fn end(&mut self, why: WhyEnded, now: Instant) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.spent = true;
        self.tell(Standing::Ended { why });
        self.failures = 0;
        self.replace_now(now);
    }

    fn replace_now(&mut self, now: Instant) {
        self.replace = true;
        self.last = None;
        self.due = now;
    }

    fn fail(&mut self, error: Error, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.due = self.later(now, error.retry_after());
        if self.ended {
            return;
        }
        let until = self.held.lease.expires_at;
        // A holder is told once of what stays the same.
        let same = match &self.told.borrow().standing {
            Standing::Failing { error: before, .. } => before.to_string() == error.to_string(),
            _ => false,
        };
        if !same {
            tracing::warn!(secret = %self.held.lease.secret, lease = %self.held.lease.id, %until, %error,
                "the lease cannot be kept at the moment");
            self.tell(Standing::Failing { error: Arc::new(error), until });
        }
    }

    /// When to look after a lease that is kept.
    fn next_look(&self) -> Instant {
        let chance = self.broker.chance();
        if self.spent { self.span.last_third(chance) } else { self.span.two_thirds(chance) }
    }

    /// When to try again: sooner when the end is near, so that there is always more than one try.
    fn later(&self, now: Instant, asked: Option<Duration>) -> Instant {
        let wait = BETWEEN.after(self.failures, self.broker.chance());
        let left = self.span.left(now).div_f64(4.0);
        let wait = if self.ended || left < BETWEEN.first { wait } else { wait.min(left) };
        now.checked_add(wait.max(asked.unwrap_or_default())).unwrap_or(now)
    }

    fn tell(&mut self, standing: Standing) {
        let holding = Arc::clone(&self.held);
        self.told.send_replace(Told { holding, standing });
    }
}

async fn working(work: &mut Option<Pin<Box<dyn Future<Output = Done> + Send>>>) -> Done {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Whether no answer was given, or one that may be another later.
fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Connect(_)
            | Error::Credential(_)
            | Error::Identity { .. }
            | Error::Throttled { .. }
            | Error::QuotaExceeded { .. }
            | Error::Unavailable { .. }
            | Error::Failed { .. }
    )
}

/// Whether no renewal can move its end.
fn at_maximum(lease: &Lease) -> bool {
    lease.expires_at >= lease.max_expires_at
}
