//! The ends of leases as they appear in the journal's files, each with the time at which it was seen there.
//!
//! It reads the lines as text: a reader that checks the chain would take processor time from the broker that it measures.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use tokio::time::Instant;

/// How often the files are looked at: seen ends are late by so much at most because of it.
const LOOK: Duration = Duration::from_millis(2);

/// How late leases ended.
pub(crate) struct Expiries {
    micros: Histogram<u64>,
    /// By how much the most hasty one was too early.
    early: u64,
    seconds: BTreeMap<i64, u64>,
}

/// The journal's lines as they are written.
pub(crate) struct Lines {
    journal: PathBuf,
    segment: PathBuf,
    file: File,
    at: u64,
    buffer: Vec<u8>,
}

impl Expiries {
    /// Watches a journal from its present end on until `count` leases have ended, or until it is late.
    pub(crate) fn watch(journal: &Path, count: u64, until: Instant) -> Self {
        let mut seen = Self { micros: Histogram::new(3).unwrap(), early: 0, seconds: BTreeMap::new() };
        let mut lines = Lines::at_end(journal);
        while seen.count() < count && Instant::now() < until {
            let mut any = false;
            lines.read(|line| {
                any = true;
                seen.take(line);
            });
            if !any {
                std::thread::park_timeout(LOOK);
            }
        }
        seen
    }

    pub(crate) fn count(&self) -> u64 {
        self.micros.len()
    }

    pub(crate) fn most_in_a_second(&self) -> u64 {
        self.seconds.values().copied().max().unwrap_or_default()
    }

    /// By how many milliseconds the most hasty one was too early, by this process's look at the clock.
    pub(crate) fn earliest_millis(&self) -> f64 {
        self.early as f64 / 1000.0
    }

    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1000.0
    }

    #[expect(clippy::disallowed_methods, reason = "the broker's clock is looked at from outside")]
    fn take(&mut self, line: &[u8]) {
        let find = |needle: &str| memchr::memmem::find(line, needle.as_bytes()).map(|at| at + needle.len());
        if find(r#""kind":"lease.expired""#).is_none() {
            return;
        }
        let from = find(r#""expires_at":""#).expect("an ended lease has an end");
        let end = from + memchr::memchr(b'"', &line[from..]).unwrap();
        let end: Timestamp = std::str::from_utf8(&line[from..end]).unwrap().parse().unwrap();
        let now = Timestamp::now();
        let late = now.duration_since(end).as_micros();
        if late < 0 {
            self.early = self.early.max(late.unsigned_abs() as u64);
        }
        self.micros.record(u64::try_from(late).unwrap_or_default()).unwrap();
        *self.seconds.entry(now.as_second()).or_default() += 1;
    }
}

impl Lines {
    /// Those that are written from now on.
    pub(crate) fn at_end(journal: &Path) -> Self {
        let segment = newest(journal);
        let file = File::open(&segment).unwrap();
        let mut lines = Self { journal: journal.to_owned(), segment, file, at: 0, buffer: Vec::new() };
        lines.read(|_| {});
        lines
    }

    /// Hands over the whole lines that are there.
    pub(crate) fn read(&mut self, mut take: impl FnMut(&[u8])) {
        loop {
            let mut chunk = vec![0; 1 << 20];
            let count = self.file.read_at(&mut chunk, self.at + self.buffer.len() as u64).unwrap();
            let written = memchr::memchr(0, &chunk[..count]).unwrap_or(count);
            self.buffer.extend_from_slice(&chunk[..written]);
            let whole = memchr::memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1);
            self.buffer[..whole].split_inclusive(|byte| *byte == b'\n').for_each(&mut take);
            self.buffer.drain(..whole);
            self.at += whole as u64;
            if written == chunk.len() {
                continue;
            }
            let next = newest(&self.journal);
            if next == self.segment || whole > 0 {
                return;
            }
            self.file = File::open(&next).unwrap();
            (self.segment, self.at) = (next, 0);
            self.buffer.clear();
        }
    }
}

/// The journal's last segment: their names order by their records.
fn newest(journal: &Path) -> PathBuf {
    let paths = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap()
}
