//! The commits that wait for the writer.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::Thread,
};

use leasehold_core::{
    record::Record,
    state::{Condition, Write},
};

use super::courier::Reply;

/// A commit, made ready by its caller: what needs no order is done before it queues.
pub(crate) struct Request {
    pub(crate) record: Record,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sealed: Option<Vec<u8>>,
    /// Absent when nobody waits.
    pub(crate) reply: Option<Reply>,
}

/// Where commits wait. The writer takes all that there are at once.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    writer: OnceLock<Thread>,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    closed: Option<Closed>,
}

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
    /// Adds a request and wakes the writer if it sleeps; false when the ledger was closed.
    pub(crate) fn push(&self, request: Request) -> bool {
        {
            let mut waiting = self.lock();
            if waiting.closed.is_some() {
                return false;
            }
            waiting.requests.push(request);
        }
        self.wake();
        true
    }

    /// Moves what waits into `list`, which is empty.
    pub(crate) fn take(&self, list: &mut Vec<Request>) -> Taken {
        let mut waiting = self.lock();
        if waiting.closed == Some(Closed::Abandoned) {
            return Taken::End(Closed::Abandoned);
        }
        if waiting.requests.is_empty() {
            return waiting.closed.map_or(Taken::Nothing, Taken::End);
        }
        std::mem::swap(&mut waiting.requests, list);
        Taken::Requests
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
