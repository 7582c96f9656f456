//! Segments that are packed and archived: nothing is lost, whatever fails on the way, and readers see one journal.

use std::{fs, path::PathBuf, sync::Arc};

use super::{Bench, group};
use crate::{
    ArchiveError, Closed, Fault, SystemFiles,
    faults::{FaultyFiles, Plan},
    link_archive, read, verify,
};

impl Bench {
    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// Packs all closed segments, and moves those up to record `until` to the archive.
    fn put_away(&self, until: u64) -> Result<(), ArchiveError> {
        let files = FaultyFiles::new(Arc::new(SystemFiles), self.faults.clone());
        for closed in Closed::list(&self.path())? {
            closed.pack(&files)?;
        }
        for closed in Closed::list(&self.path())?.into_iter().filter(|closed| closed.last() <= until) {
            closed.copy_to(&self.archive(), &files)?;
            closed.remove(&files)?;
        }
        Ok(())
    }

    /// Five segments of some records each.
    fn with_segments() -> Self {
        let bench = Self::written(4096, &[4; 12]);
        assert!(bench.segments().len() >= 5, "{:?}", bench.segments());
        link_archive(&bench.path(), &bench.archive()).unwrap();
        bench
    }

    fn names(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.segments().into_iter().map(name).collect()
    }
}

#[test]
fn packed_and_archived_segments_are_the_same_journal() {
    let bench = Bench::with_segments();
    let (before, all) = (verify(&bench.path()).unwrap(), bench.seqs());
    let half = Closed::list(&bench.path()).unwrap()[2].last();
    bench.put_away(half).unwrap();
    let after = verify(&bench.path()).unwrap();
    assert!(after.is_whole(), "{after:?}");
    assert_eq!((after.head, after.first, after.segments), (before.head, 1, before.segments));
    assert_eq!(bench.seqs(), all);
    let names = bench.names();
    assert!(!names[0].starts_with("00000000000000000001") && names[0].ends_with(".log.zst"), "{names:?}");
    assert!(names.last().unwrap().ends_with(".log"), "{names:?}");
    // The middle is read without the beginning, and the writer goes on where it was.
    let middle: Vec<_> = read(&bench.path(), half).unwrap().map(|entry| entry.unwrap().seq).collect();
    assert_eq!(middle.first(), Some(&half));
    let (mut journal, opened) = bench.open(Some(before.head)).unwrap();
    assert_eq!(opened.head, before.head);
    group(&mut journal, 3).unwrap();
    assert!(verify(&bench.path()).unwrap().is_whole());
    // Also with nothing else than the journal: everything is read again.
    drop(journal);
    assert_eq!(bench.open(None).unwrap().1.head.seq, before.head.seq + 3);
    // The archive by itself is whole, too.
    let archived = verify(&bench.archive()).unwrap();
    assert!(archived.is_whole() && archived.head.seq == half, "{archived:?}");
    fs::remove_file(bench.path().join("archive")).unwrap();
    let alone = verify(&bench.path()).unwrap();
    assert!(alone.is_whole() && alone.first == half + 1, "{alone:?}");
}

#[test]
fn whatever_fails_on_the_way_the_journal_is_whole_and_the_next_attempt_ends_the_work() {
    let mut failures = 0;
    for step in 1.. {
        for plan in [
            Plan { fail_sync: Some(step), ..Plan::default() },
            Plan { no_space_at: Some(step), ..Plan::default() },
            Plan { room: Some(step * 300), ..Plan::default() },
        ] {
            let bench = Bench::with_segments();
            let (head, all) = (verify(&bench.path()).unwrap().head, bench.seqs());
            bench.faults.set(plan.clone());
            failures += u32::from(bench.put_away(u64::MAX).is_err());
            // This is what a crash at that place leaves, and a little less than that.
            assert_eq!(bench.seqs(), all, "{plan:?}");
            assert_eq!(verify(&bench.path()).unwrap().head, head, "{plan:?}");
            bench.faults.set(Plan::default());
            bench.put_away(u64::MAX).unwrap();
            assert_eq!((bench.seqs(), bench.names().len()), (all, 1), "{plan:?}");
            assert!(verify(&bench.path()).unwrap().is_whole());
        }
        if step > 30 {
            break;
        }
    }
    assert!(failures > 40, "{failures} failures");
}

#[test]
fn a_crash_between_two_steps_leaves_a_segment_twice_and_it_counts_once() {
    let bench = Bench::with_segments();
    let all = bench.seqs();
    let first = &Closed::list(&bench.path()).unwrap()[0];
    let plain = fs::read(bench.segment()).unwrap();
    first.pack(&SystemFiles).unwrap();
    fs::write(bench.path().join(format!("{:020}.log", 1)), plain).unwrap();
    assert_eq!(bench.seqs(), all);
    let first = &Closed::list(&bench.path()).unwrap()[0];
    assert!(!first.is_packed(), "the plain form counts");
    first.pack(&SystemFiles).unwrap();
    let first = &Closed::list(&bench.path()).unwrap()[0];
    let copied = first.copy_to(&bench.archive(), &SystemFiles).unwrap();
    fs::write(bench.archive().join("00000000000000000099.log.zst.new"), "unfinished").unwrap();
    assert_eq!((bench.seqs(), verify(&bench.path()).unwrap().is_whole()), (all.clone(), true));
    assert_eq!(first.copy_to(&bench.archive(), &SystemFiles).unwrap(), copied, "it is there already");
    first.remove(&SystemFiles).unwrap();
    assert_eq!(bench.seqs(), all);
}

#[test]
fn a_reader_goes_on_when_what_it_reads_is_put_away() {
    let bench = Bench::with_segments();
    let all = bench.seqs();
    let mut reader = read(&bench.path(), 0).unwrap();
    let mut seen: Vec<_> = reader.by_ref().take(2).map(|entry| entry.unwrap().seq).collect();
    bench.put_away(u64::MAX).unwrap();
    seen.extend(reader.map(|entry| entry.unwrap().seq));
    assert_eq!(seen, all);
}

#[test]
fn damage_is_found_in_what_was_packed_and_never_packed_away() {
    let bench = Bench::with_segments();
    bench.put_away(0).unwrap();
    let head = verify(&bench.path()).unwrap().head;
    let path = bench.segment();
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let report = verify(&bench.path()).unwrap();
        // zstd leaves a few bits unused: then nothing has changed.
        assert!(report.bad.is_some() || report.head == head, "byte {at} of {}", whole.len());
        found += usize::from(report.bad.is_some());
    }
    assert!(found > whole.len() * 9 / 10, "{found} of {}", whole.len());
    for length in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(verify(&bench.path()).unwrap().bad.is_some(), "cut to {length}");
    }
    let bench = Bench::with_segments();
    let path = bench.segment();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 1] = b'x';
    fs::write(&path, &bytes).unwrap();
    let refused = Closed::list(&bench.path()).unwrap()[0].pack(&SystemFiles).unwrap_err();
    assert!(matches!(refused, ArchiveError::Damaged { fault: Fault::Remains, .. }), "{refused}");
    bytes[300] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let refused =
        Closed::list(&bench.path()).unwrap()[0].copy_to(&bench.archive(), &SystemFiles).unwrap_err();
    assert!(matches!(refused, ArchiveError::Damaged { .. }), "{refused}");
    assert!(path.exists());
}

#[test]
fn the_archive_of_another_broker_is_left_alone() {
    let (bench, other) = (Bench::with_segments(), Bench::with_segments());
    let (ours, theirs) = (&Closed::list(&bench.path()).unwrap()[0], &Closed::list(&other.path()).unwrap()[0]);
    theirs.pack(&SystemFiles).unwrap();
    let theirs = &Closed::list(&other.path()).unwrap()[0];
    fs::write(bench.archive().join(format!("{:020}.log", 1)), "not ours").unwrap();
    let refused = ours.copy_to(&bench.archive(), &SystemFiles).unwrap_err();
    assert!(matches!(refused, ArchiveError::Occupied { .. }), "{refused}");
    theirs.copy_to(&other.archive(), &SystemFiles).unwrap();
    let refused = link_archive(&bench.path(), &other.archive()).unwrap_err();
    assert!(matches!(refused, ArchiveError::Occupied { .. }), "{refused}");
}
