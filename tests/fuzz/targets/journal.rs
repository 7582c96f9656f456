//! The journal over whatever is in its file: a reader and a check find the same, and a journal that checks is opened,
//! mended where a crash has cut it, and written on. The first byte says what the rest is: `z` a packed segment, `c` what is
//! to be packed, anything else a segment as it is written to.

#![no_main]

use std::{fs, path::Path, sync::Arc};

use jiff::Timestamp;
use leasehold_audit::{Journal, JournalOptions, SystemFiles, read, verify};
use leasehold_core::record::{Actor, Kind, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path();
    let packed = zstd::encode_all(bytes, 1);
    let (name, bytes) = match (kind, &packed) {
        (b'z', _) => ("00000000000000000001.log.zst", bytes),
        (b'c', Ok(packed)) => ("00000000000000000001.log.zst", packed.as_slice()),
        _ => ("00000000000000000001.log", bytes),
    };
    fs::write(dir.join(name), bytes).expect("a segment");
    let before = check(dir);
    if let Some((records, head)) = before {
        let (mut journal, opened) = open(dir);
        assert_eq!(opened.head, head, "it is opened elsewhere than it ends");
        let actor = Actor::internal("spiffe://example.org/fuzz".parse().expect("an id"));
        journal
            .stage(&Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor), Some(&[7; 20]))
            .expect("a record");
        journal.commit().expect("it can be written");
        drop(journal);
        let report = verify(dir).expect("there is a journal");
        assert!(report.is_whole(), "what was mended and written on is not whole: {report:?}");
        assert_eq!(report.records, records + 1);
    }
});

/// Checks and reads it; how many records it has and where it ends, if nothing is bad.
fn check(dir: &Path) -> Option<(u64, leasehold_audit::Head)> {
    let report = verify(dir).expect("a file that is there can be read");
    let read: Vec<_> = match read(dir, 0) {
        Ok(entries) => entries.collect(),
        Err(_) => {
            assert!(report.bad.is_some(), "a good journal cannot be read");
            return None;
        }
    };
    let good = read.iter().take_while(|entry| entry.is_ok()).count();
    assert_eq!(good as u64, report.records, "reading and checking differ");
    if report.bad.is_some() {
        return None;
    }
    assert!(good + 1 >= read.len());
    Some((report.records, report.head))
}

fn open(dir: &Path) -> (Journal, leasehold_audit::Opened) {
    let options = JournalOptions {
        dir: dir.to_owned(),
        node: "fuzz".to_owned(),
        segment_bytes: 4096,
        files: Arc::new(SystemFiles),
    };
    Journal::open(options, None).expect("a journal that checks can be opened")
}
