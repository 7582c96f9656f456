//! Brings answers back to those who wait, a group at a time.
//!
//! To wake a task from outside its runtime costs a system call, and the writer has a hundred tasks to wake after one
//! fsync. So each runtime that commits has a courier, a task of its own: the writer wakes it once, and it wakes its
//! neighbours from within, which costs next to nothing. A runtime that ends takes its courier along; answers then go directly.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_core::state::{LedgerError, Revision};
use tokio::{
    runtime::{Handle, Id},
    sync::{Notify, oneshot},
};

use super::queue::Posted;

/// What became of a commit.
pub(crate) type Outcome = Result<Revision, LedgerError>;
/// Who waits, what for, and the request, which is dropped where it is delivered.
type Answer = (oneshot::Sender<Outcome>, Outcome, Option<Posted>);

/// The couriers of all runtimes that commit; mostly one.
#[derive(Default)]
pub(crate) struct Couriers(Mutex<Vec<(Id, Arc<Courier>)>>);

/// Carries answers into one runtime.
#[derive(Default)]
pub(crate) struct Courier {
    bag: Mutex<Bag>,
    called: Notify,
}

#[derive(Default)]
struct Bag {
    answers: Vec<Answer>,
    /// Set when nobody carries any more.
    gone: bool,
}

/// Where an answer goes.
pub(crate) struct Reply {
    to: oneshot::Sender<Outcome>,
    via: Option<Arc<Courier>>,
}

/// Ends a courier's service with its task, however that ends.
struct Service(Arc<Courier>);

impl Couriers {
    /// A way for one answer, and where to wait for it.
    pub(crate) fn reply(&self) -> (Reply, oneshot::Receiver<Outcome>) {
        let (to, answer) = oneshot::channel();
        (Reply { to, via: self.here() }, answer)
    }

    /// The courier of the present runtime.
    fn here(&self) -> Option<Arc<Courier>> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let mut couriers = self.lock();
        if let Some((_, courier)) = couriers.iter().find(|(of, _)| *of == id)
            && !courier.is_gone()
        {
            return Some(Arc::clone(courier));
        }
        couriers.retain(|(_, courier)| !courier.is_gone());
        let courier = Arc::new(Courier::default());
        couriers.push((id, Arc::clone(&courier)));
        runtime.spawn(Service(Arc::clone(&courier)).run());
        Some(courier)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Id, Arc<Courier>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Couriers {
    fn drop(&mut self) {
        for (_, courier) in self.lock().drain(..) {
            courier.leave();
            courier.call();
        }
    }
}

impl Reply {
    /// A way to a thread that is in no runtime.
    pub(crate) fn direct() -> (Self, oneshot::Receiver<Outcome>) {
        let (to, answer) = oneshot::channel();
        (Self { to, via: None }, answer)
    }

    /// Sends the outcome on its way; gives back the courier that must be called for it to arrive.
    pub(crate) fn send(self, outcome: Outcome, request: Option<Posted>) -> Option<Arc<Courier>> {
        let Some(courier) = self.via else {
            let _ = self.to.send(outcome);
            return None;
        };
        courier.carry((self.to, outcome, request)).then_some(courier)
    }
}

impl Courier {
    /// Wakes the courier.
    pub(crate) fn call(&self) {
        self.called.notify_one();
    }

    /// True when the courier does not know yet that there is something to carry.
    fn carry(&self, answer: Answer) -> bool {
        let mut bag = self.lock();
        if bag.gone {
            drop(bag);
            let (to, outcome, _) = answer;
            let _ = to.send(outcome);
            return false;
        }
        bag.answers.push(answer);
        bag.answers.len() == 1
    }

    fn deliver(&self) {
        let answers = std::mem::take(&mut self.lock().answers);
        for (to, outcome, _) in answers {
            // Who does not wait any more has no use for the answer; what was committed stays.
            let _ = to.send(outcome);
        }
    }

    fn leave(&self) {
        self.lock().gone = true;
        self.deliver();
    }

    fn is_gone(&self) -> bool {
        self.lock().gone
    }

    fn lock(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    async fn run(self) {
        while !self.0.is_gone() {
            self.0.called.notified().await;
            self.0.deliver();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_call_brings_many_answers() {
        let couriers = Couriers::default();
        let (first, one) = couriers.reply();
        let (second, two) = couriers.reply();
        let call = first.send(Ok(1), None).unwrap();
        assert!(second.send(Ok(2), None).is_none());
        call.call();
        assert_eq!((one.await.unwrap(), two.await.unwrap()), (Ok(1), Ok(2)));
        assert_eq!(couriers.lock().len(), 1);
    }

    #[test]
    fn a_runtime_that_ends_loses_no_answer() {
        let couriers = Couriers::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime();
        let (before, in_time) = ended.block_on(async { couriers.reply() });
        let (after, late) = ended.block_on(async { couriers.reply() });
        assert!(before.send(Ok(1), None).is_some());
        drop(ended);
        assert!(after.send(Ok(2), None).is_none());
        assert_eq!((in_time.blocking_recv().unwrap(), late.blocking_recv().unwrap()), (Ok(1), Ok(2)));
        // Another runtime, which may have the same id, gets a courier of its own.
        runtime().block_on(async {
            let (reply, answer) = couriers.reply();
            reply.send(Ok(3), None).unwrap().call();
            assert_eq!(answer.await.unwrap(), Ok(3));
        });
    }

    #[test]
    fn without_a_runtime_answers_go_directly() {
        let (reply, mut answer) = Couriers::default().reply();
        assert!(reply.send(Ok(1), None).is_none());
        assert_eq!(answer.try_recv().unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn an_answer_outlives_the_ledger() {
        let couriers = Couriers::default();
        let (reply, answer) = couriers.reply();
        reply.send(Ok(1), None).unwrap();
        drop(couriers);
        assert_eq!(answer.await.unwrap(), Ok(1));
    }
}
