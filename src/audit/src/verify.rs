//! Checks a whole journal offline: with no daemon and no key.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{
    error::Fault,
    head::Head,
    line,
    read::{ReadError, start},
    segment::Segment,
    tail::Tail,
    walk::{Flaw, Obstacle, Walk},
};

/// What a check of a whole journal found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How many segment files there are.
    pub segments: u64,
    /// How many records are good, from the first on without a gap.
    pub records: u64,
    /// The first record that is here; above 1 when older segments were archived or removed.
    pub first: u64,
    /// The last good record.
    pub head: Head,
    /// The time of the first record.
    pub first_time: Option<Timestamp>,
    /// The time of the last good record.
    pub last_time: Option<Timestamp>,
    /// The first bad record, if there is one. Nothing after it was looked at.
    pub bad: Option<BadRecord>,
    /// An incomplete end: a group that a crash has cut, or that a running daemon is writing now.
    pub incomplete: Option<IncompleteEnd>,
}

/// The first record that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The record that should be there.
    pub seq: u64,
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it the line starts.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// Bytes after the last record that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteEnd {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in it they start.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// The segment that is looked at, counted from 1.
    pub segment: u64,
    /// How many segments there are.
    pub segments: u64,
    /// How many records were good until now.
    pub records: u64,
}

/// It is told after so many records how far it has come.
const TOLD_EVERY: u64 = 256;

/// Checks a whole journal: checksums, sequence, chain, segment joins, and that every record can be read.
///
/// What it cannot see by itself is a journal rewritten as a whole, or cut between two records at its end: for that there
/// is [`verify_against`].
///
/// # Errors
/// When there is no journal or a file cannot be read. Damage is no error: it is in the report.
pub fn verify(dir: &Path) -> Result<VerifyReport, ReadError> {
    verify_against(dir, None)
}

/// As [`verify()`], and the journal must hold the record `known` as it was when its hash was noted. One that is neither here
/// nor in an archive that can be read is missing.
///
/// # Errors
/// As [`verify()`].
pub fn verify_against(dir: &Path, known: Option<Head>) -> Result<VerifyReport, ReadError> {
    verify_with(dir, known, |_| ())
}

/// As [`verify_against`], and tells now and then how far it has come.
///
/// # Errors
/// As [`verify()`].
pub fn verify_with(
    dir: &Path,
    known: Option<Head>,
    mut tell: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, ReadError> {
    let segments = Segment::all(dir).unwrap_or_default();
    let mut come = |first, records| {
        let segment = segments.partition_point(|segment| segment.first <= first) as u64;
        tell(VerifyProgress { segment, segments: segments.len() as u64, records });
    };
    come(segments.first().map_or(0, |segment| segment.first), 0);
    let mut report = VerifyReport {
        segments: segments.len() as u64,
        records: 0,
        first: 0,
        head: Head::START,
        first_time: None,
        last_time: None,
        bad: None,
        incomplete: None,
    };
    let mut walk = match start(dir, 1) {
        Ok(walk) => walk,
        Err(ReadError::Damaged { seq, segment, offset, fault }) => {
            report.first = seq;
            report.bad = Some(BadRecord { seq, segment, offset, fault });
            return Ok(report);
        }
        Err(other) => return Err(other),
    };
    report.head = walk.head();
    report.first = walk.head().seq.saturating_add(1);
    if let Some(bad) = known.and_then(|known| not_as_known_before(&walk, known)) {
        report.bad = Some(bad);
        return Ok(report);
    }
    match report.follow(&mut walk, known, come) {
        Ok(()) => report.end(&walk, walk.offset(), None, known)?,
        Err(Obstacle::Flaw(flaw)) if flaw.last => {
            report.end(&walk, flaw.offset, Some(flaw.fault), known)?;
        }
        Err(Obstacle::Flaw(flaw)) => report.bad = Some(flaw.into()),
        Err(other) => return Err(other.into()),
    }
    Ok(report)
}

impl VerifyReport {
    /// Whether every record is good and the journal ends with a whole one.
    pub fn is_whole(&self) -> bool {
        self.bad.is_none() && self.incomplete.is_none()
    }

    fn follow(
        &mut self,
        walk: &mut Walk,
        known: Option<Head>,
        mut come: impl FnMut(u64, u64),
    ) -> Result<(), Obstacle> {
        while let Some(stamp) = walk.next()? {
            let readable = std::str::from_utf8(walk.line())
                .map_err(|why| Fault::Form(why.to_string().into()))
                .and_then(|text| line::frame(text).and_then(|_| line::record(text)));
            let as_known = || match known {
                Some(known) if known.seq == stamp.seq && known != walk.head() => Err(Fault::NotAsKnown),
                _ => Ok(()),
            };
            if let Err(fault) = readable.and_then(|_| as_known()) {
                return Err(Obstacle::Flaw(Flaw { last: false, ..walk.flaw_here(fault) }));
            }
            self.records = self.records.saturating_add(1);
            self.head = walk.head();
            self.first_time = self.first_time.or(Some(stamp.time));
            self.last_time = Some(stamp.time);
            if self.records.is_multiple_of(TOLD_EVERY) {
                come(walk.segment().first, self.records);
            }
        }
        Ok(())
    }

    /// Looks at what is behind the last good record.
    fn end(
        &mut self,
        walk: &Walk,
        offset: u64,
        fault: Option<Fault>,
        known: Option<Head>,
    ) -> Result<(), ReadError> {
        let segment = walk.segment().path.clone();
        let next = self.head.seq.saturating_add(1);
        let tail = Tail::new(offset, walk.remains(offset)?);
        let missing = known.filter(|known| known.seq > self.head.seq);
        match (tail, missing) {
            (Some(tail), _) if !tail.is_torn(next) => {
                let fault = fault.unwrap_or(Fault::Incomplete);
                self.bad = Some(BadRecord { seq: next, segment, offset, fault });
            }
            (_, Some(known)) => {
                let fault = Fault::Missing { until: known.seq };
                self.bad = Some(BadRecord { seq: next, segment, offset, fault });
            }
            (Some(tail), None) => {
                let bytes = tail.bytes.len() as u64;
                self.incomplete = Some(IncompleteEnd { segment, offset, bytes });
            }
            (None, None) => {}
        }
        Ok(())
    }
}

/// What is wrong with a record that is known and that lies before the first one here: nothing can show that it is as it was,
/// but for the last of them, whose hash the first segment begins with.
fn not_as_known_before(walk: &Walk, known: Head) -> Option<BadRecord> {
    let before = walk.head();
    let fault = if known.seq < before.seq {
        Fault::Missing { until: before.seq }
    } else if known.seq == before.seq && known != before {
        Fault::NotAsKnown
    } else {
        return None;
    };
    Some(BadRecord { seq: known.seq, segment: walk.segment().path.clone(), offset: 0, fault })
}

impl From<Flaw> for BadRecord {
    fn from(flaw: Flaw) -> Self {
        let Flaw { seq, segment, offset, fault, .. } = flaw;
        Self { seq, segment, offset, fault }
    }
}
