//! The journal as a whole, over real files: [`closed`] packs and archives, [`crash`] tears writes, [`surgery`] changes what is on the disk, [`disk`] makes
//! calls fail.

mod closed;
mod crash;
mod disk;
mod surgery;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_core::record::Record;

use crate::{
    Head, Journal, JournalError, JournalOptions, Opened, SystemFiles,
    faults::{Faults, FaultyFiles},
    line, read,
    segment::Segment,
};

/// A journal's directory, its faults and how it is opened.
struct Bench {
    dir: tempfile::TempDir,
    faults: Faults,
    segment_bytes: u64,
}

impl Bench {
    fn new(segment_bytes: u64) -> Self {
        // In memory where that is possible: thousands of journals are made here, and what a disk does is simulated.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { dir, faults: Faults::none(), segment_bytes }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn open(&self, applied: Option<Head>) -> Result<(Journal, Opened), JournalError> {
        let files = FaultyFiles::new(Arc::new(SystemFiles), self.faults.clone());
        Journal::open(
            JournalOptions {
                dir: self.path(),
                node: "n1".to_owned(),
                segment_bytes: self.segment_bytes,
                files: Arc::new(files),
            },
            applied,
        )
    }

    /// A journal of these groups, closed.
    fn written(segment_bytes: u64, groups: &[u64]) -> Self {
        let bench = Self::new(segment_bytes);
        let (mut journal, _) = bench.open(None).unwrap();
        for records in groups {
            group(&mut journal, *records).unwrap();
        }
        bench
    }

    /// The journal's first segment.
    fn segment(&self) -> PathBuf {
        self.segments().remove(0)
    }

    fn segments(&self) -> Vec<PathBuf> {
        Segment::live(&self.path()).unwrap().into_iter().map(|segment| segment.path).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        read(&self.path(), 0).unwrap().map(|entry| entry.unwrap().seq).collect()
    }
}

fn record(text: &str) -> Record {
    line::tests::sample(text)
}

/// Commits `records` records as one group.
fn group(journal: &mut Journal, records: u64) -> Result<Head, JournalError> {
    for number in 0..records {
        journal.stage(&record(&format!("number {number}")), Some(&[7; 20])).unwrap();
    }
    journal.commit()
}

/// Where the bytes of a segment's lines end.
fn end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1))
}

/// Copies a journal's files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
