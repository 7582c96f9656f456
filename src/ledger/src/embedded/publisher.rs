//! Makes what is durable visible, in order, and answers those who wait for it.
//!
//! The writer does so itself while nobody else waits to commit. When somebody does, a thread of its own does it, so that
//! the next group is on its way to the disk meanwhile.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::Ordering,
    mpsc::{self, Receiver, SyncSender},
};

use jiff::Timestamp;
use leasehold_audit::Head;
use leasehold_core::state::{Change, Write};

use super::{
    courier::Outcome,
    indexer::Indexer,
    queue::{Posted, Queue},
    writer::Counts,
};
use crate::{index::Index, watchers::Watchers};

/// Commits that went to the disk together.
pub(crate) struct Group {
    pub(crate) requests: Vec<Posted>,
    /// What became of each.
    pub(crate) outcomes: Vec<Outcome>,
    /// The journal's head after them.
    pub(crate) head: Head,
}

/// Where it becomes visible.
pub(crate) struct Stage {
    pub(crate) index: Arc<Index>,
    pub(crate) indexer: Arc<Indexer>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) counts: Arc<Counts>,
}

/// The writer's way to publish.
pub(crate) struct Publisher {
    stage: Arc<Stage>,
    groups: SyncSender<Group>,
    backlog: Arc<Backlog>,
}

/// What the thread does.
pub(crate) struct Publishing {
    stage: Arc<Stage>,
    groups: Receiver<Group>,
    backlog: Arc<Backlog>,
    queue: Arc<Queue>,
}

/// What was handed over and is not published yet.
#[derive(Default)]
struct Backlog {
    state: Mutex<State>,
    shorter: Condvar,
}

#[derive(Default)]
struct State {
    groups: usize,
    /// Set when nobody publishes any more.
    gone: bool,
}

impl Stage {
    fn publish(&self, group: Group) {
        let Group { mut requests, outcomes, head } = group;
        let mut commits = 0u64;
        let mut last_time = Timestamp::MIN;
        for (request, outcome) in requests.iter_mut().zip(&outcomes) {
            let Ok(revision) = *outcome else { continue };
            commits = commits.saturating_add(1);
            last_time = last_time.max(request.record.time);
            if request.writes.is_empty() {
                continue;
            }
            let mut audience = self.watchers.audience();
            let told = if audience.is_empty() { Vec::new() } else { request.writes.clone() };
            self.index.apply(revision, &mut request.writes);
            for Write { key, value } in told {
                audience.tell(&Change { revision, key, value });
            }
        }
        self.counts.head.store(head.seq, Ordering::Relaxed);
        self.counts.commits.fetch_add(commits, Ordering::Relaxed);
        self.indexer.saw(last_time);
        if self.index.is_full(head) && self.index.freeze(head) {
            self.indexer.wake();
        }
        answer(requests, outcomes);
    }
}

impl Publisher {
    /// A way to publish, and what a thread must do for it.
    pub(crate) fn new(stage: Stage, queue: Arc<Queue>) -> (Self, Publishing) {
        // One group waits at most: a writer that is faster than that waits for the index sooner or later.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (stage, backlog) = (Arc::new(stage), Arc::<Backlog>::default());
        let (of_thread, its_backlog) = (Arc::clone(&stage), Arc::clone(&backlog));
        (
            Self { stage, groups: sender, backlog },
            Publishing { stage: of_thread, groups: receiver, backlog: its_backlog, queue },
        )
    }

    /// Publishes a group: now, or beside what the caller does next when it is in a hurry.
    pub(crate) fn publish(&self, group: Group, in_a_hurry: bool) {
        if !in_a_hurry && self.backlog.lock().groups == 0 {
            return self.stage.publish(group);
        }
        self.backlog.add();
        // Without the thread nobody is answered: dropping the group tells those who wait, and the queue takes no more.
        drop(self.groups.send(group));
    }

    /// Waits until all that was handed over is visible; false when it never will be.
    pub(crate) fn settle(&self) -> bool {
        let waiting =
            self.backlog.shorter.wait_while(self.backlog.lock(), |state| state.groups > 0 && !state.gone);
        !waiting.unwrap_or_else(PoisonError::into_inner).gone
    }
}

impl Publishing {
    /// Publishes what is handed over, until nothing can be any more.
    pub(crate) fn run(self) {
        while let Ok(group) = self.groups.recv() {
            self.stage.publish(group);
            self.backlog.remove();
        }
    }
}

impl Drop for Publishing {
    /// Also when the thread panics, nobody waits for it in vain.
    fn drop(&mut self) {
        self.queue.abandon();
        self.backlog.end();
    }
}

impl Backlog {
    fn add(&self) {
        let mut state = self.lock();
        state.groups = state.groups.saturating_add(1);
    }

    fn remove(&self) {
        let mut state = self.lock();
        state.groups = state.groups.saturating_sub(1);
        drop(state);
        self.shorter.notify_one();
    }

    fn end(&self) {
        self.lock().gone = true;
        self.shorter.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells everybody how it went, and only then wakes those who carry it.
pub(crate) fn answer(requests: Vec<Posted>, outcomes: impl IntoIterator<Item = Outcome>) {
    let to_call: Vec<_> = requests
        .into_iter()
        .zip(outcomes)
        .filter_map(|(mut request, outcome)| request.reply.take()?.send(outcome, Some(request)))
        .collect();
    to_call.iter().for_each(|courier| courier.call());
}

#[cfg(test)]
mod tests {
    use leasehold_core::{
        SecretBytes,
        record::{Actor, Kind, Record},
        state::Key,
    };
    use leasehold_seal::{KeyRing, SystemEntropy};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        embedded::{courier::Reply, queue::Request},
        index::Limits,
    };

    fn publisher(dir: &TempDir) -> (Publisher, Publishing, Arc<Index>) {
        let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
        let index = Arc::new(Index::open(dir.path(), keys, [0; 16], Limits::default()).unwrap());
        let stage = Stage {
            index: Arc::clone(&index),
            indexer: Arc::default(),
            watchers: Arc::default(),
            counts: Arc::default(),
        };
        let (publisher, publishing) = Publisher::new(stage, Arc::default());
        (publisher, publishing, index)
    }

    /// A group of one commit, which writes the key.
    fn group(seq: u64) -> (Group, oneshot::Receiver<Outcome>) {
        let actor = Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap());
        let record = Record::new(Timestamp::UNIX_EPOCH, Kind::StatusRead, actor);
        let writes = vec![Write::put(Key::from_stored("key"), SecretBytes::new(seq.to_string().into()))];
        let (reply, outcome) = Reply::direct();
        let request = Request { record, conditions: Vec::new(), writes, sealed: None, reply: Some(reply) };
        let head = Head { seq, hash: [0; 32] };
        (Group { requests: vec![Box::new(request)], outcomes: vec![Ok(seq)], head }, outcome)
    }

    #[test]
    fn groups_become_visible_in_order_whoever_publishes_them() {
        let dir = TempDir::new().unwrap();
        let (publisher, publishing, index) = publisher(&dir);
        let thread = std::thread::spawn(|| publishing.run());
        let answers: Vec<_> = (1..=100)
            .map(|seq| {
                let (group, answer) = group(seq);
                // Who is in no hurry still comes after those who were.
                publisher.publish(group, seq % 3 != 0);
                answer
            })
            .collect();
        assert!(publisher.settle());
        assert_eq!(index.get(&Key::from_stored("key")).unwrap().unwrap().revision, 100);
        for (answer, seq) in answers.into_iter().zip(1..) {
            assert_eq!(answer.blocking_recv().unwrap(), Ok(seq));
        }
        drop(publisher);
        thread.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let dir = TempDir::new().unwrap();
        let (publisher, publishing, _) = publisher(&dir);
        let (early, before) = group(1);
        publisher.publish(early, true);
        drop(publishing);
        assert!(!publisher.settle());
        let (late, after) = group(2);
        publisher.publish(late, true);
        assert!(!publisher.settle());
        assert!(before.blocking_recv().is_err());
        assert!(after.blocking_recv().is_err());
    }
}
