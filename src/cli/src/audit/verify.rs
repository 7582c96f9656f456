//! `leasehold audit verify`: whether a journal is what was written.

use std::{path::Path, time::Duration};

use data_encoding::HEXLOWER_PERMISSIVE;
use leasehold_audit::{Head, VerifyProgress, VerifyReport, verify_with};
use leasehold_core::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::source::journal_in;
use crate::{
    exit::{Exit, Failure},
    output::{Format, Output},
    progress::{bar, following},
};

/// The line is as old as this at most.
const EVERY: Duration = Duration::from_millis(200);

/// What was found.
#[derive(Serialize)]
struct ReportView {
    journal: String,
    whole: bool,
    segments: u64,
    records: u64,
    first_sequence: u64,
    /// The last good record as `SEQUENCE:HASH`; noted somewhere else, it proves later that nothing before it changed.
    head: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad: Option<BadView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete_end: Option<EndView>,
    /// The record that was to be there as it was noted.
    #[serde(skip)]
    known: Option<u64>,
}

/// The first record that is not what was written.
#[derive(Serialize)]
struct BadView {
    sequence: u64,
    segment: String,
    offset: u64,
    fault: String,
}

/// Bytes at the end that are no record.
#[derive(Serialize)]
struct EndView {
    segment: String,
    offset: u64,
    bytes: u64,
}

/// Reads `SEQUENCE:HASH`.
pub(super) fn parse_head(text: &str) -> Result<Head, String> {
    const FORM: &str = "a head is `SEQUENCE:HASH`, as `audit verify` prints it";
    let (seq, hash) = text.split_once(':').ok_or(FORM)?;
    let hash = HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).map_err(|_| FORM)?;
    Ok(Head { seq: seq.parse().map_err(|_| FORM)?, hash: hash.try_into().map_err(|_| FORM)? })
}

pub(super) async fn run(dir: &Path, known: Option<Head>, output: &mut Output) -> Result<(), Failure> {
    let journal = journal_in(dir);
    let (tell, come) = watch::channel(VerifyProgress::default());
    let checked = journal.clone();
    // The files are read where nobody waits for the thread: the line goes on also when a disk is slow.
    let work = tokio::task::spawn_blocking(move || {
        verify_with(&checked, known, |progress| {
            tell.send_replace(progress);
        })
    });
    let wanted = output.format == Format::Table;
    let done = following(EVERY, || in_a_line(*come.borrow()), wanted, work).await;
    let found = done.map_err(|why| Failure::failed(journal.display(), why))?;
    let mut report = ReportView::of(&journal, found?);
    report.known = known.map(|known| known.seq);
    output.item(&report, &report.parts())?;
    match &report.bad {
        None => Ok(()),
        Some(bad) => Err(Failure::new(
            Exit::Damaged,
            format!(
                "record {} in {} at byte {} is damaged: {}; restore the journal from a copy, and keep this one as evidence",
                bad.sequence, bad.segment, bad.offset, bad.fault
            ),
        )),
    }
}

/// How far the check has come.
fn in_a_line(come: VerifyProgress) -> String {
    let VerifyProgress { segment, segments, records } = come;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let full = bar(count(segment.saturating_sub(1)), count(segments));
    format!("{full} segment {segment} of {segments}, {records} good records")
}

impl ReportView {
    fn of(journal: &Path, report: VerifyReport) -> Self {
        Self {
            journal: journal.display().to_string(),
            whole: report.is_whole(),
            segments: report.segments,
            records: report.records,
            first_sequence: report.first,
            head: report.head.to_string(),
            first_time: report.first_time,
            last_time: report.last_time,
            bad: report.bad.map(|bad| BadView {
                sequence: bad.seq,
                segment: bad.segment.display().to_string(),
                offset: bad.offset,
                fault: bad.fault.to_string(),
            }),
            incomplete_end: report.incomplete.map(|end| EndView {
                segment: end.segment.display().to_string(),
                offset: end.offset,
                bytes: end.bytes,
            }),
            known: None,
        }
    }

    fn parts(&self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.3}")).unwrap_or_default();
        let mut parts = vec![
            ("journal", self.journal.clone()),
            ("verdict", self.verdict()),
            ("good records", format!("{}, from {} on", self.records, self.first_sequence)),
            ("segments", self.segments.to_string()),
            ("first", time(self.first_time)),
            ("last", time(self.last_time)),
            ("head", self.head.clone()),
        ];
        parts.retain(|(_, text)| !text.is_empty());
        parts
    }

    fn verdict(&self) -> String {
        match (&self.bad, &self.incomplete_end) {
            (Some(bad), _) => format!("DAMAGED at record {}: {}", bad.sequence, bad.fault),
            (None, Some(end)) => format!(
                "good; {} bytes at the end are being written now, or were cut short by a crash and never acknowledged",
                end.bytes
            ),
            (None, None) => match self.known {
                Some(known) => {
                    format!("good: every record follows from the one before, and {known} is as it was noted")
                }
                None => "good: every record follows from the one before".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_head_is_read_back() {
        let head = Head { seq: 42, hash: [0xab; 32] };
        assert_eq!(parse_head(&head.to_string()), Ok(head));
        for bad in ["", "42", "42:ab", "x:00", ":"] {
            assert!(parse_head(bad).unwrap_err().contains("SEQUENCE:HASH"), "{bad}");
        }
    }

    #[test]
    fn a_report_for_programs() {
        let report = ReportView {
            journal: "/var/lib/leasehold/journal".into(),
            whole: false,
            segments: 2,
            records: 41,
            first_sequence: 1,
            head: format!("41:{}", "00".repeat(32)),
            first_time: Some(Timestamp::UNIX_EPOCH),
            last_time: Some(Timestamp::UNIX_EPOCH),
            bad: Some(BadView {
                sequence: 42,
                segment: "00000000000000000001.log".into(),
                offset: 4096,
                fault: "its checksum does not fit".into(),
            }),
            incomplete_end: Some(EndView {
                segment: "00000000000000000001.log".into(),
                offset: 9000,
                bytes: 7,
            }),
            known: Some(41),
        };
        assert!(report.verdict().starts_with("DAMAGED at record 42"));
        crate::snapshot::documented("audit-verify", &report);
        let good = ReportView { bad: None, incomplete_end: None, ..report };
        assert!(good.verdict().ends_with("and 41 is as it was noted"), "{}", good.verdict());
    }

    #[test]
    fn how_far_it_has_come_is_one_line() {
        let come = VerifyProgress { segment: 4, segments: 6, records: 70_000 };
        assert_eq!(in_a_line(come), "[############............] segment 4 of 6, 70000 good records");
    }

    #[tokio::test]
    async fn where_there_is_no_journal_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), None, &mut Output::plain()).await.unwrap_err();
        assert_eq!(error.exit, Exit::Failed);
        assert!(error.message.contains("there is no journal in"), "{}", error.message);
    }
}
