//! Writes that a crash has torn.

use proptest::prelude::*;

use super::{Bench, copy, end, group, record};
use crate::{Fault, JournalError, read, verify};

const SECTOR: usize = 512;

#[test]
fn a_new_journal_is_empty_and_goes_on_after_closing() {
    let bench = Bench::new(64 * 1024);
    let (mut journal, opened) = bench.open(None).unwrap();
    assert_eq!((opened.head.seq, opened.last_time), (0, None));
    let one = group(&mut journal, 3).unwrap();
    assert_eq!(journal.stats().commits, 1);
    drop(journal);

    let (mut journal, opened) = bench.open(Some(one)).unwrap();
    assert_eq!(opened.head, one);
    assert_eq!(opened.last_time, Some(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(group(&mut journal, 2).unwrap().seq, 5);
    assert_eq!(bench.seqs(), [1, 2, 3, 4, 5]);
    let groups: Vec<_> = read(&bench.path(), 2).unwrap().map(|entry| entry.unwrap().group).collect();
    assert_eq!(groups, [1, 1, 4, 4]);
}

#[test]
fn an_entry_has_all_that_was_staged() {
    let bench = Bench::new(64 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    assert_eq!(journal.stage(&record("one"), None).unwrap(), 1);
    assert_eq!(journal.stage(&record("two"), Some(b"sealed")).unwrap(), 2);
    let head = journal.commit().unwrap();
    let entries: Vec<_> = read(&bench.path(), 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries[0].record, record("one"));
    assert_eq!(entries[0].sealed, None);
    assert_eq!(entries[1].sealed.as_deref(), Some(&b"sealed"[..]));
    assert_eq!(entries[1].prev, entries[0].hash);
    assert_eq!((entries[1].seq, entries[1].hash), (head.seq, head.hash));
    assert_eq!(entries[1].node, "n1");
}

#[test]
fn a_rolled_back_group_leaves_nothing() {
    let bench = Bench::new(64 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    group(&mut journal, 1).unwrap();
    journal.stage(&record("not kept"), None).unwrap();
    journal.rollback();
    assert_eq!(journal.commit().unwrap().seq, 1);
    assert_eq!(group(&mut journal, 1).unwrap().seq, 2);
    assert_eq!(bench.seqs(), [1, 2]);
}

#[test]
fn a_reader_follows_the_writer_through_new_segments() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    group(&mut journal, 1).unwrap();
    let mut entries = read(&bench.path(), 0).unwrap();
    let mut seen = 0;
    for _ in 0..20 {
        for entry in entries.by_ref() {
            seen = entry.unwrap().seq;
        }
        assert_eq!(seen, journal.head().seq);
        assert_eq!(entries.head(), journal.head());
        group(&mut journal, 3).unwrap();
    }
    assert!(bench.segments().len() > 3);
}

#[test]
fn a_group_longer_than_a_segment_gets_a_longer_one() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    group(&mut journal, 100).unwrap();
    group(&mut journal, 1).unwrap();
    drop(journal);
    assert_eq!(bench.open(None).unwrap().1.head.seq, 101);
    assert!(verify(&bench.path()).unwrap().is_whole());
}

#[test]
fn a_write_cut_at_any_byte_loses_nothing_acknowledged() {
    let bench = Bench::written(8192, &[2]);
    let before = std::fs::read(bench.segment()).unwrap();
    let (mut journal, opened) = bench.open(None).unwrap();
    group(&mut journal, 3).unwrap();
    drop(journal);
    let after = std::fs::read(bench.segment()).unwrap();
    let (start, stop) = (end(&before), end(&after));

    for cut in start..=stop {
        let mut torn = before.clone();
        torn[start..cut].copy_from_slice(&after[start..cut]);
        std::fs::write(bench.segment(), &torn).unwrap();
        let (mut journal, found) = bench.open(Some(opened.head)).unwrap();
        assert!((2..=5).contains(&found.head.seq), "{cut}");
        let whole = torn[..cut].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(found.torn.as_ref().map(|torn| torn.bytes), (cut > whole).then_some((cut - whole) as u64));
        if let Some(torn) = found.torn {
            assert_eq!(std::fs::read(torn.saved).unwrap(), &after[whole..cut]);
        }
        if cut % 8 != 0 {
            continue;
        }
        let head = group(&mut journal, 1).unwrap();
        drop(journal);
        assert_eq!(head.seq, found.head.seq + 1);
        assert_eq!(bench.seqs().last(), Some(&head.seq));
        assert!(verify(&bench.path()).unwrap().is_whole(), "{cut}");
    }
}

#[test]
fn a_torn_end_is_told_and_kept_aside_each_time() {
    let bench = Bench::written(8192, &[1]);
    let clean = std::fs::read(bench.segment()).unwrap();
    let at = end(&clean);
    let mut saved = Vec::new();
    for garbage in [&b"{\"seq\":2,\"pr"[..], b"{", b"\0what came after\n"] {
        let mut torn = clean.clone();
        torn[at..at + garbage.len()].copy_from_slice(garbage);
        std::fs::write(bench.segment(), &torn).unwrap();
        let report = verify(&bench.path()).unwrap();
        assert!(report.bad.is_none() && !report.is_whole());
        assert_eq!(report.incomplete.unwrap().offset, at as u64);
        let torn = bench.open(None).unwrap().1.torn.unwrap();
        assert_eq!(std::fs::read(&torn.saved).unwrap(), garbage);
        saved.push(torn.saved);
        assert!(verify(&bench.path()).unwrap().is_whole());
    }
    saved.dedup();
    assert_eq!(saved.len(), 3);
}

#[test]
fn an_index_ahead_of_a_torn_end_is_not_talked_away() {
    let bench = Bench::written(8192, &[1, 1]);
    let head = bench.open(None).unwrap().1.head;
    let mut bytes = std::fs::read(bench.segment()).unwrap();
    let at = end(&bytes);
    bytes[at - 10..at].fill(0);
    std::fs::write(bench.segment(), &bytes).unwrap();
    let Err(why) = bench.open(Some(head)) else { panic!() };
    assert!(matches!(why, JournalError::Damaged { seq: 2, fault: Fault::Incomplete, .. }), "{why}");
    assert_eq!(bench.open(None).unwrap().1.head.seq, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A power cut: of the sectors that the last write touched, any may be missing.
    #[test]
    fn missing_sectors_of_the_last_write_lose_nothing_acknowledged(
        acknowledged in prop::collection::vec(1u64..4, 1..4),
        last in 1u64..12,
        kept in prop::collection::vec(any::<bool>(), 32),
    ) {
        let bench = Bench::written(16 * 1024, &acknowledged);
        let before = std::fs::read(bench.segment()).unwrap();
        let (mut journal, opened) = bench.open(None).unwrap();
        group(&mut journal, last).unwrap();
        drop(journal);
        let after = std::fs::read(bench.segment()).unwrap();
        let mut torn = before.clone();
        for (at, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            let sector = at * SECTOR..(at + 1) * SECTOR;
            torn[sector.clone()].copy_from_slice(&after[sector]);
        }
        std::fs::write(bench.segment(), &torn).unwrap();

        let (mut journal, found) = bench.open(Some(opened.head)).unwrap();
        prop_assert!(found.head.seq >= opened.head.seq);
        prop_assert!(found.head.seq <= opened.head.seq + last);
        let head = group(&mut journal, 2).unwrap();
        drop(journal);
        prop_assert_eq!(bench.seqs(), (1..=head.seq).collect::<Vec<_>>());
        prop_assert!(verify(&bench.path()).unwrap().is_whole());
    }

    #[test]
    fn any_groups_over_any_segments_read_back(
        groups in prop::collection::vec(1u64..9, 0..12),
        segment_bytes in 4096u64..16_384,
    ) {
        let bench = Bench::written(segment_bytes, &groups);
        let total = groups.iter().sum::<u64>();
        let report = verify(&bench.path()).unwrap();
        prop_assert!(report.is_whole(), "{:?}", report);
        prop_assert_eq!((report.records, report.head.seq), (total, total));
        let (journal, opened) = bench.open(None).unwrap();
        prop_assert_eq!(opened.head, report.head);
        drop(journal);
        for from in [1, total / 2, total] {
            let read: Vec<_> = read(&bench.path(), from).unwrap().map(|entry| entry.unwrap().seq).collect();
            prop_assert_eq!(read, (from.max(1)..=total).collect::<Vec<_>>());
        }
        let other = tempfile::tempdir().unwrap();
        copy(&bench.path(), other.path());
        prop_assert!(verify(other.path()).unwrap().is_whole());
    }
}
