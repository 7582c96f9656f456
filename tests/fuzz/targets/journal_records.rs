//! Records that somebody else wrote into a journal, each line with its place in the chain and its checksum as they must be:
//! one that reads is written as the same again, and one that does not is the first bad one. A line of `---` begins another
//! segment.

#![no_main]

use std::{fs, path::Path};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use leasehold_audit::{Filter, read, verify};
use leasehold_core::record::Record;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else { return Corpus::Reject };
    if text.contains('\0') {
        return Corpus::Reject;
    }
    let home = tempfile::tempdir().expect("a directory");
    let records = write(home.path(), text);
    let report = verify(home.path()).expect("there is a journal");
    let Ok(entries) = read(home.path(), 0) else { panic!("its header is good") };
    let mut good = 0;
    for entry in entries {
        let Ok(entry) = entry else { break };
        good += 1;
        let record = entry.record;
        let text = serde_json::to_string(&record).expect("what was read can be written");
        let again: Record = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(again, record);
        assert!(Filter::default().matches(&record), "a filter of nothing leaves it out");
        drop(entry.sealed);
    }
    assert_eq!((good, report.head.seq), (report.records, report.records), "reading and checking differ");
    assert_eq!(report.bad.is_none(), report.records == records, "{report:?}");
    Corpus::Keep
});

/// Frames each line as the record that follows the one before; how many there are.
fn write(dir: &Path, text: &str) -> u64 {
    let (mut seq, mut prev, mut segment) = (0, [0; 32], Vec::new());
    let mut first = begin(&mut segment, 1, &prev);
    for fields in text.split('\n') {
        if fields == "---" && seq >= first {
            save(dir, first, &segment);
            first = begin(&mut segment, seq + 1, &prev);
            continue;
        }
        seq += 1;
        let fields = fields.strip_prefix('{').unwrap_or(fields);
        let fields = fields.strip_suffix('}').unwrap_or(fields);
        let prev_text = HEXLOWER.encode(&prev);
        let mut line = format!(r#"{{"seq":{seq},"prev":"{prev_text}","group":{seq},"node":"a",{fields}"#);
        let crc = crc32fast::hash(line.as_bytes());
        line.push_str(&format!(r#","crc":"{crc:08x}"}}"#));
        // RFC 6962's leaf hash.
        let mut context = Context::new(&SHA256);
        context.update(&[0]);
        context.update(line.as_bytes());
        prev.copy_from_slice(context.finish().as_ref());
        segment.extend_from_slice(line.as_bytes());
        segment.push(b'\n');
    }
    save(dir, first, &segment);
    seq
}

fn begin(segment: &mut Vec<u8>, first: u64, prev: &[u8; 32]) -> u64 {
    let prev = HEXLOWER.encode(prev);
    *segment = format!("{{\"leasehold-journal\":1,\"first\":{first},\"prev\":\"{prev}\"}}\n").into_bytes();
    first
}

fn save(dir: &Path, first: u64, segment: &[u8]) {
    fs::write(dir.join(format!("{first:020}.log")), segment).expect("a segment");
}
