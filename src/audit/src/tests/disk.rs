//! Calls that fail, and files that are taken away under the writer.

use super::{Bench, end, group};
use crate::{JournalError, faults::Plan, verify};

fn plan() -> Plan {
    Plan::default()
}

#[test]
fn a_full_disk_refuses_and_works_again_when_there_is_room() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    bench.faults.set(Plan { room: Some(0), ..plan() });
    let mut acknowledged = 0;
    let why = loop {
        match group(&mut journal, 2) {
            Ok(head) => acknowledged = head.seq,
            Err(why) => break why,
        }
    };
    assert!(acknowledged > 0, "there is room in the segment that is already ours");
    assert!(matches!(&why, JournalError::Full { .. }), "{why}");
    assert!(matches!(journal.probe(), Err(JournalError::Full { .. })));
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Full { .. })));
    assert_eq!(bench.seqs().len() as u64, acknowledged);
    assert!(!bench.path().join("next.tmp").exists(), "what was taken is given back");

    bench.faults.clear();
    journal.probe().unwrap();
    assert_eq!(group(&mut journal, 2).unwrap().seq, acknowledged + 2);
    drop(journal);
    assert!(verify(&bench.path()).unwrap().is_whole());
    assert_eq!(bench.seqs().len() as u64, acknowledged + 2);
}

#[test]
fn full_is_full_for_those_too_who_ask_for_little() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    bench.faults.set(Plan { room: Some(0), ..plan() });
    while group(&mut journal, 4).is_ok() {}
    let bytes = std::fs::read(bench.segment()).unwrap();
    let (end, count) = (end(&bytes), bench.seqs().len());
    assert!(end + end / count < bytes.len(), "one more record would fit: {end} bytes have {count}");
    assert!(matches!(group(&mut journal, 1), Err(JournalError::Full { .. })));
    bench.faults.clear();
    group(&mut journal, 1).unwrap();
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_write_leaves_no_trace() {
    let bench = Bench::new(16 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    let head = group(&mut journal, 2).unwrap();
    // The first half of the group is written, with whole records in it; the second half is not.
    bench.faults.set(Plan { short_writes: true, no_space_at: Some(2), ..plan() });
    assert!(matches!(group(&mut journal, 4), Err(JournalError::Full { .. })));
    assert_eq!(bench.seqs(), [1, 2]);
    assert!(verify(&bench.path()).unwrap().is_whole());
    assert_eq!(group(&mut journal, 1).unwrap().seq, head.seq + 1);
    assert!(verify(&bench.path()).unwrap().is_whole());
}

#[test]
fn a_disk_that_takes_not_even_zeros_poisons() {
    let bench = Bench::new(16 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    let head = group(&mut journal, 2).unwrap();
    bench.faults.set(Plan { no_space: true, ..plan() });
    // Not even zeros can be written, so nothing is known of what is on the disk.
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Poisoned { .. })));
    bench.faults.clear();
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Poisoned { .. })));
    drop(journal);
    assert_eq!(bench.open(Some(head)).unwrap().1.head, head);
}

#[test]
fn a_failed_fsync_poisons_for_ever() {
    let bench = Bench::new(16 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    let head = group(&mut journal, 2).unwrap();
    bench.faults.set(Plan { fail_sync: Some(1), ..plan() });
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Poisoned { .. })));
    bench.faults.clear();
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Poisoned { .. })));
    assert!(matches!(journal.probe(), Err(JournalError::Poisoned { .. })));
    assert_eq!(journal.head(), head);
}

#[test]
fn a_failed_fsync_of_a_new_segment_poisons_too() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    let head = group(&mut journal, 2).unwrap();
    bench.faults.set(Plan { fail_sync: Some(1), ..plan() });
    assert!(matches!(group(&mut journal, 20), Err(JournalError::Poisoned { .. })));
    bench.faults.clear();
    assert!(matches!(group(&mut journal, 1), Err(JournalError::Poisoned { .. })));
    drop(journal);
    assert_eq!(bench.open(Some(head)).unwrap().1.head, head);
}

#[test]
fn what_a_killed_process_left_is_made_durable_before_it_counts() {
    let bench = Bench::written(4096, &[2]);
    bench.faults.set(Plan { fail_sync: Some(1), ..plan() });
    assert!(matches!(bench.open(None), Err(JournalError::Io { verb: "made durable", .. })));
    bench.faults.clear();
    assert_eq!(bench.open(None).unwrap().1.head.seq, 2);
}

#[test]
fn every_fsync_may_be_the_one_that_fails() {
    for nth in 1..40 {
        let bench = Bench::new(4096);
        bench.faults.set(Plan { fail_sync: Some(nth), ..plan() });
        let mut acknowledged = None;
        if let Ok((mut journal, _)) = bench.open(None) {
            while let Ok(head) = group(&mut journal, 2) {
                acknowledged = Some(head);
            }
        }
        bench.faults.clear();
        let (_, opened) = bench.open(acknowledged).unwrap();
        assert!(opened.head.seq >= acknowledged.map_or(0, |head| head.seq), "fsync {nth}");
        assert!(verify(&bench.path()).unwrap().is_whole(), "fsync {nth}");
    }
}

#[test]
fn short_writes_are_gone_on_with() {
    let bench = Bench::new(4096);
    bench.faults.set(Plan { short_writes: true, ..plan() });
    let (mut journal, _) = bench.open(None).unwrap();
    for _ in 0..10 {
        group(&mut journal, 3).unwrap();
    }
    drop(journal);
    assert_eq!(verify(&bench.path()).unwrap().records, 30);
}

#[test]
fn a_segment_taken_away_refuses_until_it_is_back() {
    let bench = Bench::new(16 * 1024);
    let (mut journal, _) = bench.open(None).unwrap();
    let head = group(&mut journal, 2).unwrap();
    let (path, aside) = (bench.segment(), bench.dir.path().join("aside"));

    std::fs::rename(&path, &aside).unwrap();
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Removed { .. })));
    assert!(matches!(journal.probe(), Err(JournalError::Removed { .. })));
    std::fs::copy(&aside, &path).unwrap();
    assert!(matches!(group(&mut journal, 2), Err(JournalError::Replaced { .. })));
    std::fs::rename(&aside, &path).unwrap();
    journal.probe().unwrap();
    assert_eq!(bench.seqs().len() as u64, head.seq);
    assert_eq!(group(&mut journal, 2).unwrap().seq, head.seq + 2);
    drop(journal);
    assert!(verify(&bench.path()).unwrap().is_whole());
}

#[test]
fn a_segment_removed_or_cut_under_the_writer_is_never_acknowledged_into() {
    for cut in [false, true] {
        let bench = Bench::new(16 * 1024);
        let (mut journal, _) = bench.open(None).unwrap();
        let head = group(&mut journal, 2).unwrap();
        if cut {
            std::fs::OpenOptions::new().write(true).truncate(true).open(bench.segment()).unwrap();
        } else {
            std::fs::remove_file(bench.segment()).unwrap();
        }
        for _ in 0..3 {
            let why = group(&mut journal, 2).unwrap_err();
            assert!(matches!(why, JournalError::Removed { .. } | JournalError::Truncated { .. }), "{why}");
        }
        assert_eq!(journal.head(), head);
        drop(journal);
        let Err(why) = bench.open(Some(head)) else { panic!() };
        assert!(matches!(why, JournalError::Cut { .. } | JournalError::Damaged { .. }), "{why}");
    }
}

#[test]
fn a_segment_removed_before_a_rotation_is_noticed() {
    let bench = Bench::new(4096);
    let (mut journal, _) = bench.open(None).unwrap();
    group(&mut journal, 2).unwrap();
    std::fs::remove_file(bench.segment()).unwrap();
    assert!(matches!(group(&mut journal, 20), Err(JournalError::Removed { .. })));
}
