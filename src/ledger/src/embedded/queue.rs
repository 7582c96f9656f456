//! The commits that wait for the writer.
//!
//! A group is the cheaper for each of its commits, and for each of its answers, the more there are in it. So the first
//! commit of a group takes a place in the queue of its runtime, and when its turn comes, all who were ready to run before
//! it have brought their commits. Nothing else is waited for: a commit that comes alone goes on at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::Thread,
};

use leasehold_core::{
    record::Record,
    state::{Condition, Write},
};
use tokio::runtime::Handle;

use super::courier::Reply;

/// A commit, made ready by its caller: what needs no order is done before it queues. It goes back with its answer, so that
/// its many small pieces are freed by the thread that allocated them, which costs half of what it costs another one.
pub(crate) struct Request {
    pub(crate) record: Record,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sealed: Option<Vec<u8>>,
    /// Absent when nobody waits.
    pub(crate) reply: Option<Reply>,
}

/// Boxed, because it is handed on from list to list.
pub(crate) type Posted = Box<Request>;

/// Where commits wait. The writer takes all that there are at once when they are released.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    writer: OnceLock<Thread>,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Posted>,
    released: bool,
    closed: Option<Closed>,
}

/// So many commits are a group that waits for no more: the writer works on it while the next one comes together.
const GROUP: usize = 64;

/// A place in the runtime's queue: releases when its turn comes, or when the runtime ends.
struct Turn(Arc<Queue>);

/// How the writer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// After what is waiting, in order.
    InOrder,
    /// At once: nobody is left to hear of it.
    Abandoned,
}

/// What the writer finds.
pub(crate) enum Taken {
    /// The requests are in the given list.
    Requests,
    /// There is nothing now.
    Nothing,
    /// There is nothing, and there never will be.
    End(Closed),
}

impl Queue {
    /// Adds a request and sees to its release; false when the ledger was closed.
    pub(crate) fn push(self: &Arc<Self>, request: Posted) -> bool {
        let (first, full) = {
            let mut waiting = self.lock();
            if waiting.closed.is_some() {
                return false;
            }
            waiting.requests.push(request);
            let count = waiting.requests.len();
            (count == 1, count >= GROUP && !waiting.released)
        };
        match Handle::try_current() {
            _ if full => self.release(),
            Ok(runtime) if first => {
                let turn = Turn(Arc::clone(self));
                runtime.spawn(async move { drop(turn) });
            }
            Ok(_) => {}
            Err(_) => self.release(),
        }
        true
    }

    /// Lets the writer take what waits, and wakes it if it sleeps.
    fn release(&self) {
        {
            let mut waiting = self.lock();
            if waiting.requests.is_empty() || waiting.released {
                return;
            }
            waiting.released = true;
        }
        self.wake();
    }

    /// Moves what was released into `list`, which is empty.
    pub(crate) fn take(&self, list: &mut Vec<Posted>) -> Taken {
        let mut waiting = self.lock();
        if waiting.closed == Some(Closed::Abandoned) {
            return Taken::End(Closed::Abandoned);
        }
        if waiting.requests.is_empty() {
            return waiting.closed.map_or(Taken::Nothing, Taken::End);
        }
        if !waiting.released && waiting.closed.is_none() {
            return Taken::Nothing;
        }
        waiting.released = false;
        std::mem::swap(&mut waiting.requests, list);
        Taken::Requests
    }

    /// Whether somebody waits to commit.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.lock().requests.is_empty()
    }

    pub(crate) fn close(&self, how: Closed) {
        self.lock().closed.get_or_insert(how);
        self.wake();
    }

    /// Refuses whoever waits, and whoever comes.
    pub(crate) fn abandon(&self) {
        self.close(Closed::Abandoned);
        let refused = std::mem::take(&mut self.lock().requests);
        // Dropping a request tells who waits for it.
        drop(refused);
    }

    /// The thread to wake.
    pub(crate) fn served_by(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Costs a system call only when the writer is parked.
    pub(crate) fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::{
        Timestamp,
        record::{Actor, Kind},
    };

    use super::*;

    fn push(queue: &Arc<Queue>) {
        let actor = Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap());
        let record = Record::new(Timestamp::UNIX_EPOCH, Kind::StatusRead, actor);
        let (conditions, writes) = (Vec::new(), Vec::new());
        assert!(queue.push(Box::new(Request { record, conditions, writes, sealed: None, reply: None })));
    }

    /// How many requests the writer gets now.
    fn taken(queue: &Queue) -> usize {
        let mut list = Vec::new();
        assert!(!matches!(queue.take(&mut list), Taken::End(_)));
        list.len()
    }

    #[tokio::test]
    async fn who_is_ready_to_run_comes_along() {
        let queue = Arc::<Queue>::default();
        let others: Vec<_> = (0..5)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { push(&queue) })
            })
            .collect();
        push(&queue);
        assert_eq!(taken(&queue), 0);
        for other in others {
            other.await.unwrap();
        }
        tokio::task::yield_now().await;
        assert_eq!(taken(&queue), 6);
        assert_eq!(taken(&queue), 0);
    }

    #[tokio::test]
    async fn a_full_group_waits_for_nobody() {
        let queue = Arc::<Queue>::default();
        (0..GROUP).for_each(|_| push(&queue));
        assert_eq!(taken(&queue), GROUP);
        push(&queue);
        assert_eq!(taken(&queue), 0, "the next one has its own turn");
        tokio::task::yield_now().await;
        assert_eq!(taken(&queue), 1);
    }

    #[test]
    fn nobody_waits_for_a_runtime_that_is_not_there() {
        let queue = Arc::<Queue>::default();
        push(&queue);
        assert_eq!(taken(&queue), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { push(&queue) });
        drop(runtime);
        assert_eq!(taken(&queue), 1);
    }
}
