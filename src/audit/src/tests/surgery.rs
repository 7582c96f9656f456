//! What is on the disk was changed: it is found and named.

use std::path::Path;

use proptest::prelude::*;

use super::{Bench, copy, end, group};
use crate::{Fault, Head, JournalError, ReadError, VerifyReport, read, verify, verify_against};

/// Changes the lines of a segment; the file keeps its length.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = std::fs::read(path).unwrap();
    let mut lines: Vec<Vec<u8>> =
        bytes[..end(&bytes)].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut lines);
    let mut edited = lines.concat();
    edited.resize(bytes.len(), 0);
    std::fs::write(path, edited).unwrap();
}

fn bad(bench: &Bench) -> (u64, Fault) {
    let report = verify(&bench.path()).unwrap();
    let bad = report.bad.unwrap();
    assert_eq!(report.records + report.first, bad.seq, "what is good ends where the first bad record is");
    (bad.seq, bad.fault)
}

fn refused(bench: &Bench, applied: Option<Head>) -> JournalError {
    match bench.open(applied) {
        Ok((_, opened)) => panic!("opened: {opened:?}"),
        Err(why) => why,
    }
}

/// Three groups of three records: 1 to 9.
fn nine() -> Bench {
    Bench::written(16 * 1024, &[3, 3, 3])
}

#[test]
fn a_removed_record_is_found() {
    let bench = nine();
    edit(&bench.segment(), |lines| drop(lines.remove(4)));
    assert_eq!(bad(&bench), (4, Fault::Sequence { found: 5 }));
    assert!(matches!(refused(&bench, None), JournalError::Damaged { seq: 4, .. }));
    let last = read(&bench.path(), 0).unwrap().last().unwrap();
    assert!(matches!(last, Err(ReadError::Damaged { seq: 4, .. })));
}

#[test]
fn swapped_records_are_found() {
    let bench = nine();
    edit(&bench.segment(), |lines| lines.swap(4, 5));
    assert_eq!(bad(&bench), (4, Fault::Sequence { found: 5 }));
    assert!(matches!(refused(&bench, None), JournalError::Damaged { seq: 4, .. }));
}

#[test]
fn a_record_rewritten_with_its_checksum_is_found() {
    let bench = nine();
    edit(&bench.segment(), |lines| {
        let line = String::from_utf8(lines[4].clone()).unwrap().replace("number 0", "number 9");
        let body = line.split(r#","crc""#).next().unwrap().to_owned();
        let crc = crc32fast::hash(body.as_bytes());
        lines[4] = format!("{body},\"crc\":\"{crc:08x}\"}}\n").into_bytes();
    });
    assert_eq!(bad(&bench), (5, Fault::Chain));
}

#[test]
fn a_record_made_zeros_is_found_when_a_later_group_is_there() {
    let bench = nine();
    edit(&bench.segment(), |lines| lines[5].fill(0));
    assert_eq!(bad(&bench), (5, Fault::Incomplete));
    assert!(matches!(refused(&bench, None), JournalError::Damaged { seq: 5, .. }));
}

#[test]
fn a_cut_end_is_found_by_who_knows_the_head() {
    let bench = nine();
    let head = verify(&bench.path()).unwrap().head;
    edit(&bench.segment(), |lines| lines.truncate(8));
    assert!(verify(&bench.path()).unwrap().is_whole());
    let report = verify_against(&bench.path(), Some(head)).unwrap();
    assert_eq!(report.bad.unwrap().fault, Fault::Missing { until: 9 });
    assert!(matches!(refused(&bench, Some(head)), JournalError::Cut { ends_at: 7, applied: 9 }));
}

#[test]
fn a_removed_journal_is_not_begun_anew() {
    let bench = nine();
    let head = verify(&bench.path()).unwrap().head;
    std::fs::remove_dir_all(bench.path()).unwrap();
    assert!(matches!(refused(&bench, Some(head)), JournalError::Cut { ends_at: 0, applied: 9 }));
    assert!(matches!(verify(&bench.path()).unwrap_err(), ReadError::NoJournal { .. }));
    assert!(matches!(read(&bench.path(), 0).err().unwrap(), ReadError::NoJournal { .. }));
}

#[test]
fn another_brokers_state_is_refused() {
    let bench = nine();
    let foreign = Head { seq: 4, hash: [1; 32] };
    assert!(matches!(refused(&bench, Some(foreign)), JournalError::Diverged { seq: 4 }));
    let report = verify_against(&bench.path(), Some(foreign)).unwrap();
    assert_eq!(report.bad.map(|bad| (bad.seq, bad.fault)), Some((4, Fault::NotAsKnown)));
}

#[test]
fn an_index_from_another_day_is_only_behind() {
    let bench = Bench::written(4096, &[3, 3, 3, 3, 3, 3, 3]);
    assert!(bench.segments().len() > 2);
    for entry in read(&bench.path(), 0).unwrap() {
        let entry = entry.unwrap();
        let (_, opened) = bench.open(Some(Head { seq: entry.seq, hash: entry.hash })).unwrap();
        assert_eq!(opened.head.seq, 21);
    }
}

#[test]
fn segments_that_are_missing_swapped_or_renamed_are_found() {
    let whole = Bench::written(4096, &[2; 18]);
    let names: Vec<_> = whole.segments().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(names.len() > 3, "{names:?}");
    let second: u64 = names[1].to_str().unwrap()[..20].parse().unwrap();
    let third: u64 = names[2].to_str().unwrap()[..20].parse().unwrap();
    let changed = |change: &dyn Fn(&Path)| {
        let bench = Bench::new(4096);
        copy(&whole.path(), &bench.path());
        change(&bench.path());
        bench
    };

    let missing = changed(&|dir| std::fs::remove_file(dir.join(&names[1])).unwrap());
    assert_eq!(bad(&missing), (second, Fault::Missing { until: third - 1 }));
    assert!(matches!(refused(&missing, None), JournalError::Damaged { .. }));

    let swapped = changed(&|dir| {
        std::fs::rename(dir.join(&names[1]), dir.join("x")).unwrap();
        std::fs::rename(dir.join(&names[2]), dir.join(&names[1])).unwrap();
        std::fs::rename(dir.join("x"), dir.join(&names[2])).unwrap();
    });
    assert_eq!(bad(&swapped), (second, Fault::Header));
    assert!(matches!(refused(&swapped, None), JournalError::Damaged { .. }));

    let beginning = changed(&|dir| std::fs::remove_file(dir.join(&names[0])).unwrap());
    let report = verify(&beginning.path()).unwrap();
    assert_eq!((report.is_whole(), report.first), (true, second));
    assert!(matches!(read(&beginning.path(), 1).unwrap().next(), Some(Ok(entry)) if entry.seq == second));
    let gone = read(&beginning.path(), second - 1).err();
    assert!(second == 2 || matches!(gone, Some(ReadError::Gone { first, .. }) if first == second));

    // What was noted of a record that is gone is not taken for proved.
    let noted = |seq: u64| {
        let entry = read(&whole.path(), seq).unwrap().next().unwrap().unwrap();
        Head { seq: entry.seq, hash: entry.hash }
    };
    let against = |known: Head| verify_against(&beginning.path(), Some(known)).unwrap();
    assert!(against(noted(second)).is_whole() && against(noted(second - 1)).is_whole());
    let another = Head { seq: second - 1, hash: [1; 32] };
    assert_eq!(against(another).bad.map(|bad| (bad.seq, bad.fault)), Some((second - 1, Fault::NotAsKnown)));
    let gone = against(noted(1)).bad.map(|bad| (bad.seq, bad.fault));
    assert_eq!(gone, Some((1, Fault::Missing { until: second - 1 })));

    let emptied = changed(&|dir| {
        let path = dir.join(&names[1]);
        let len = std::fs::metadata(&path).unwrap().len();
        std::fs::write(&path, vec![0; usize::try_from(len).unwrap()]).unwrap();
    });
    assert_eq!(bad(&emptied), (second, Fault::Header));

    let foreign = changed(&|dir| {
        let other = Bench::written(4096, &[1; 36]);
        std::fs::copy(other.segments().last().unwrap(), dir.join(&names[1])).unwrap();
    });
    assert_eq!(bad(&foreign), (second, Fault::Header));
}

#[test]
fn what_is_behind_a_finished_segment_is_found() {
    let bench = Bench::written(4096, &[2; 12]);
    let path = bench.segment();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() = b'x';
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(bad(&bench).1, Fault::Remains));
}

#[test]
fn a_good_journal_is_said_to_be_good() {
    let bench = nine();
    let VerifyReport { segments, records, first, head, bad, .. } = verify(&bench.path()).unwrap();
    assert_eq!((segments, records, first, head.seq, bad), (1, 9, 1, 9, None));
    let (mut journal, opened) = bench.open(Some(head)).unwrap();
    assert_eq!(opened.torn, None);
    assert_eq!(group(&mut journal, 1).unwrap().seq, 10);
    assert!(verify_against(&bench.path(), Some(head)).unwrap().is_whole());
}

#[test]
fn no_flipped_bit_in_the_last_record_passes_for_a_torn_write() {
    let bench = nine();
    let whole = std::fs::read(bench.segment()).unwrap();
    let last = end(&whole);
    let start = whole[..last - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for (at, bit) in (start..last).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        // What became a zero could be one that was never written: a blank or an `@`, nothing else in a line.
        if bytes[at] != 0 {
            std::fs::write(bench.segment(), &bytes).unwrap();
            assert_eq!(bad(&bench).0, 9, "bit {bit} of byte {at}");
        }
    }
    assert!(matches!(refused(&bench, None), JournalError::Damaged { seq: 9, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_changed_byte_is_found(segment: prop::sample::Index, at: prop::sample::Index, change in 1u8..) {
        let bench = Bench::written(4096, &[2, 3, 2]);
        let segments = bench.segments();
        let path = segment.get(&segments);
        let mut bytes = std::fs::read(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        std::fs::write(path, bytes).unwrap();
        let report = verify(&bench.path()).unwrap();
        prop_assert!(!report.is_whole(), "byte {} of {}", at, path.display());
    }

    /// With what the index has, no change of a record is ever mended away.
    #[test]
    fn no_acknowledged_record_is_mended_away(at: prop::sample::Index, change in 1u8..) {
        let bench = Bench::written(16 * 1024, &[2, 3, 2]);
        let head = verify(&bench.path()).unwrap().head;
        let mut bytes = std::fs::read(bench.segment()).unwrap();
        let at = at.index(end(&bytes));
        bytes[at] ^= change;
        std::fs::write(bench.segment(), &bytes).unwrap();
        prop_assert!(bench.open(Some(head)).is_err());
        prop_assert_eq!(std::fs::read(bench.segment()).unwrap(), bytes);
    }
}
