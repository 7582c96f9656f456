//! The embedded ledger through its public face, on a real disk.

mod damage;
mod failures;
mod model;
mod put_away;
mod restarts;
mod stretches;

use std::{path::Path, sync::Arc};

use futures::StreamExt;
use leasehold_audit::{
    SystemFiles,
    faults::{Faults, FaultyFiles},
};
use leasehold_core::{
    SecretBytes, Timestamp,
    record::{Kind, Record},
    state::{Condition, Write},
};
use leasehold_seal::SystemEntropy;
use tempfile::TempDir;

use super::*;

/// A state directory with what belongs to it.
struct Home {
    dir: TempDir,
    keys: Arc<KeyRing>,
    faults: Faults,
    boot_id: String,
    segment_bytes: u64,
    snapshot_records: u64,
    closed: ClosedSegments,
    limits: Limits,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            keys: Arc::new(KeyRing::generate(&SystemEntropy).unwrap()),
            faults: Faults::none(),
            boot_id: "boot-1".to_owned(),
            segment_bytes: 256 * 1024,
            snapshot_records: 1_000_000,
            closed: ClosedSegments::default(),
            limits: Limits::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn try_open(&self) -> Result<(Embedded, Recovery), OpenError> {
        let options = EmbeddedOptions {
            dir: self.dir.path().to_owned(),
            node: "node-1".to_owned(),
            keys: Arc::clone(&self.keys),
            segment_bytes: self.segment_bytes,
            files: Arc::new(FaultyFiles::new(Arc::new(SystemFiles), self.faults.clone())),
            boot_id: self.boot_id.clone(),
            actor: actor(),
            snapshot_records: self.snapshot_records,
            closed: self.closed.clone(),
        };
        Embedded::open_with(options, self.limits)
    }

    fn open(&self) -> (Embedded, Recovery) {
        self.try_open().unwrap()
    }
}

fn actor() -> Actor {
    Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap())
}

fn key(text: &str) -> Key {
    Key::from_stored(text)
}

fn put(text: &str, value: &str) -> Write {
    Write::put(key(text), SecretBytes::new(value.into()))
}

fn commit(conditions: Vec<Condition>, writes: Vec<Write>) -> Commit {
    let record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor());
    Commit { record, conditions, writes }
}

/// Everything in a ledger: keys, values, revisions.
async fn all(ledger: &dyn Ledger) -> Vec<(String, Vec<u8>, Revision)> {
    let entries = ledger.scan(&KeyRange::prefix(""), usize::MAX).await.unwrap();
    entries.into_iter().map(|e| (e.key.to_string(), e.value.expose().to_vec(), e.revision)).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn replace_dir(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).unwrap();
    copy_dir(from, to);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let home = Home::new();
    let (ledger, _) = home.open();
    assert_eq!(ledger.commit(commit(vec![], vec![put("a", "1")])).await, Ok(1));
    let refused = ledger.commit(commit(vec![Condition::Absent(key("a"))], vec![put("b", "1")])).await;
    assert_eq!(refused, Err(LedgerError::Conflict(key("a"))));
    assert!(ledger.get(&key("b")).await.unwrap().is_none());
    let next = commit(vec![Condition::Unchanged(key("a"), 1)], vec![put("a", "2"), Write::mark(key("m"))]);
    assert_eq!(ledger.commit(next).await, Ok(2));
    let stale = commit(vec![Condition::Unchanged(key("a"), 1)], vec![]);
    assert_eq!(ledger.commit(stale).await, Err(LedgerError::Conflict(key("a"))));
    assert_eq!(ledger.commit(commit(vec![], vec![Write::delete(key("a"))])).await, Ok(3));
    assert_eq!(ledger.commit(commit(vec![Condition::Absent(key("a"))], vec![])).await, Ok(4));
    assert_eq!(all(&ledger).await, [("m".to_owned(), vec![], 2)]);
    let stats = ledger.stats();
    assert_eq!((stats.head, stats.commits, stats.conflicts), (4, 4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_the_same_key_one_gets_it() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let ledger = ledger.clone();
            let writes = vec![put("wanted", &n.to_string()), put(&format!("own/{n}"), "")];
            tokio::spawn(async move {
                ledger.commit(commit(vec![Condition::Absent(key("wanted"))], writes)).await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(revision) => {
                assert_eq!(revision, 1);
                won += 1;
            }
            Err(why) => assert_eq!(why, LedgerError::Conflict(key("wanted"))),
        }
    }
    assert_eq!((won, all(&ledger).await.len()), (1, 2));
}

/// While groups overtake each other on their way to the disk and into the index.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_answered_is_visible_and_no_update_is_lost_under_load() {
    const WRITERS: usize = 24;
    const ROUNDS: usize = 20;
    let home = Home::new();
    let (ledger, _) = home.open();
    ledger.commit(commit(vec![], vec![put("count", "0")])).await.unwrap();
    let count_up = async |ledger: &Embedded| loop {
        let count = ledger.get(&key("count")).await.unwrap().unwrap();
        let next = std::str::from_utf8(count.value.expose()).unwrap().parse::<usize>().unwrap() + 1;
        let unchanged = Condition::Unchanged(key("count"), count.revision);
        match ledger.commit(commit(vec![unchanged], vec![put("count", &next.to_string())])).await {
            Ok(_) => return,
            Err(why) => assert_eq!(why, LedgerError::Conflict(key("count"))),
        }
    };
    let writers = (0..WRITERS).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let own = format!("own/{n}");
            for round in 0..ROUNDS {
                let revision =
                    ledger.commit(commit(vec![], vec![put(&own, &round.to_string())])).await.unwrap();
                let seen = ledger.get(&key(&own)).await.unwrap().unwrap();
                assert_eq!((seen.revision, seen.value.expose()), (revision, round.to_string().as_bytes()));
                if round % 4 == 0 {
                    count_up(&ledger).await;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let count = ledger.get(&key("count")).await.unwrap().unwrap();
    assert_eq!(count.value.expose(), (WRITERS * ROUNDS.div_ceil(4)).to_string().as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_come_together_share_an_fsync() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger.commit(commit(vec![], vec![put(&format!("k/{n:03}"), "v")])).await.unwrap()
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=200).collect::<Vec<_>>());
    let stats = ledger.stats();
    assert_eq!(stats.commits, 200);
    assert!(stats.fsyncs >= 1 && stats.fsyncs < 200, "{stats:?}");
    assert_eq!(all(&ledger).await.len(), 200);
}

#[tokio::test]
async fn a_watcher_sees_commits_in_order_and_the_end() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let mut watch = ledger.watch(KeyRange::prefix("a/"));
    for n in 0..10 {
        ledger.commit(commit(vec![], vec![put("a/x", &n.to_string()), put("b/x", "")])).await.unwrap();
    }
    ledger.close().await;
    for n in 0..10u64 {
        let change = watch.next().await.unwrap().unwrap();
        assert_eq!((change.revision, change.key), (n + 1, key("a/x")));
        assert_eq!(change.value.unwrap().expose(), n.to_string().as_bytes());
    }
    assert!(matches!(watch.next().await, Some(Err(LedgerError::Unavailable(_)))));
    assert!(watch.next().await.is_none());
    assert!(matches!(ledger.commit(commit(vec![], vec![])).await, Err(LedgerError::Unavailable(_))));
    assert_eq!(all(&ledger).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_and_then_reads_misses_nothing() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let writer = {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                ledger.commit(commit(vec![], vec![put(&format!("k/{n:03}"), "")])).await.unwrap();
            }
        })
    };
    for _ in 0..20 {
        let mut watch = ledger.watch(KeyRange::prefix("k/"));
        let seen = all(&ledger).await.iter().map(|(_, _, revision)| *revision).max().unwrap_or(0);
        if seen == 200 {
            break;
        }
        // The first change that the scan did not show is the one right after it.
        let next = loop {
            let change = watch.next().await.unwrap().unwrap();
            if change.revision > seen {
                break change.revision;
            }
        };
        assert_eq!(next, seen + 1);
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn no_value_is_on_disk_in_clear() {
    let home = Home { limits: Limits { bytes: 1, records: 1 }, snapshot_records: 1, ..Home::new() };
    let (ledger, _) = home.open();
    for n in 0..20 {
        ledger.commit(commit(vec![], vec![put(&format!("k/{n}"), "canary-2f7a")])).await.unwrap();
    }
    ledger.close().await;
    let mut looked_at = 0;
    let mut dirs = vec![home.dir.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(6).any(|w| w == b"canary"), "{}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at >= 4, "{looked_at}");
}
