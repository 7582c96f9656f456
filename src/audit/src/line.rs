//! The written form of one record: how a line is made, checked and taken apart.

use std::{borrow::Cow, io::Write};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use leasehold_core::record::Record;
use serde::Deserialize;

use crate::{error::Fault, head::Head};

/// How every line of a record starts.
pub(crate) const START: &[u8] = br#"{"seq":"#;
const CRC: &[u8] = br#","crc":""#;
/// `,"crc":"01234567"}`
const CRC_LEN: usize = CRC.len() + 8 + 2;
/// RFC 6962, 2.1: what is put before a leaf when it is hashed.
const LEAF: u8 = 0;

/// Makes lines. Keeps its buffer, and the node's name in JSON.
pub(crate) struct Writer {
    node: String,
    buffer: Vec<u8>,
}

/// What places a line in the chain, without the record itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) seq: u64,
    pub(crate) prev: Hex,
    pub(crate) group: u64,
    pub(crate) time: Timestamp,
}

/// The journal's own fields of a line.
#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(borrow)]
    pub(crate) node: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) sealed: Option<Cow<'a, str>>,
}

/// A hash in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) [u8; 32]);

impl Writer {
    pub(crate) fn new(node: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { node: serde_json::to_string(node)?, buffer: Vec::new() })
    }

    /// Appends the line of the record after `prev`, with its newline; returns the new head. On an error `out` is as it was.
    pub(crate) fn append(
        &mut self,
        out: &mut Vec<u8>,
        prev: Head,
        group: u64,
        record: &Record,
        sealed: Option<&[u8]>,
    ) -> Result<Head, serde_json::Error> {
        let seq = prev.seq.saturating_add(1);
        let line = &mut self.buffer;
        line.clear();
        // The leaf's prefix is kept in front of the line, so that both are hashed in one go.
        line.push(LEAF);
        line.extend_from_slice(START);
        write_number(line, seq);
        line.extend_from_slice(br#","prev":""#);
        append_encoded(&HEXLOWER, line, &prev.hash);
        line.extend_from_slice(br#"","group":"#);
        write_number(line, group);
        line.extend_from_slice(br#","node":"#);
        line.extend_from_slice(self.node.as_bytes());
        let fields = line.len();
        serde_json::to_writer(&mut *line, record)?;
        // The record is an object of its own; its braces give way so that its fields stand beside the journal's.
        if let Some(brace) = line.get_mut(fields) {
            *brace = b',';
        }
        line.pop();
        if let Some(sealed) = sealed {
            line.extend_from_slice(br#","sealed":""#);
            append_encoded(&BASE64, line, sealed);
            line.push(b'"');
        }
        let crc = crc32fast::hash(line.get(1..).unwrap_or_default());
        line.extend_from_slice(CRC);
        append_encoded(&HEXLOWER, line, &crc.to_be_bytes());
        line.extend_from_slice(br#""}"#);

        out.extend_from_slice(line.get(1..).unwrap_or_default());
        out.push(b'\n');
        Ok(Head { seq, hash: sha256(line) })
    }
}

/// The hash of a line without its newline: RFC 6962's leaf hash.
pub(crate) fn hash(line: &[u8]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&SHA256);
    context.update(&[LEAF]);
    context.update(line);
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// Checks a line's checksum and reads its place in the chain.
pub(crate) fn stamp(line: &[u8]) -> Result<Stamp, Fault> {
    let (body, tail) = line.split_last_chunk::<CRC_LEN>().ok_or(Fault::Incomplete)?;
    let digits =
        tail.strip_prefix(CRC).and_then(|rest| rest.strip_suffix(br#""}"#)).ok_or(Fault::Incomplete)?;
    let mut crc = [0; 4];
    let decoded = HEXLOWER.decode_mut(digits, &mut crc);
    if decoded != Ok(4) || u32::from_be_bytes(crc) != crc32fast::hash(body) {
        return Err(Fault::Checksum);
    }
    serde_json::from_slice(line).map_err(form)
}

/// Reads the journal's own fields.
pub(crate) fn frame(line: &str) -> Result<Frame<'_>, Fault> {
    serde_json::from_str(line).map_err(form)
}

/// Reads the record's fields.
pub(crate) fn record(line: &str) -> Result<Record, Fault> {
    serde_json::from_str(line).map_err(form)
}

/// Checks that `line` follows `head`; returns the head after it.
pub(crate) fn follow(head: Head, line: &[u8]) -> Result<(Head, Stamp), Fault> {
    let stamp = stamp(line)?;
    let seq = head.seq.saturating_add(1);
    if stamp.seq != seq {
        return Err(Fault::Sequence { found: stamp.seq });
    }
    if stamp.prev.0 != head.hash {
        return Err(Fault::Chain);
    }
    Ok((Head { seq, hash: hash(line) }, stamp))
}

fn form(why: serde_json::Error) -> Fault {
    Fault::Form(why.to_string().into())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    // INVARIANT: writing to a vector cannot fail.
    drop(write!(out, "{number}"));
}

fn append_encoded(encoding: &data_encoding::Encoding, out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start.saturating_add(encoding.encode_len(bytes.len())), 0);
    if let Some(room) = out.get_mut(start..) {
        encoding.encode_mut(bytes, room);
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let mut hash = [0; 32];
        match HEXLOWER.decode_len(text.len()) {
            Ok(32) => match HEXLOWER.decode_mut(text.as_bytes(), &mut hash) {
                Ok(_) => Ok(Self(hash)),
                Err(_) => Err(serde::de::Error::custom("a hash is 64 lower-case hexadecimal digits")),
            },
            _ => Err(serde::de::Error::custom("a hash is 64 lower-case hexadecimal digits")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use leasehold_core::record::{Actor, Kind};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sample(detail: &str) -> Record {
        let actor = Actor::internal("spiffe://example.org/prod/payments/api".parse().unwrap());
        let mut record = Record::new(Timestamp::UNIX_EPOCH, Kind::LeaseIssued, actor);
        record.secret = Some("prod/payments/db".parse().unwrap());
        record.details.insert("note".to_owned(), detail.to_owned());
        record
    }

    fn written(detail: &str, sealed: Option<&[u8]>) -> (Vec<u8>, Head) {
        let mut out = Vec::new();
        let head =
            Writer::new("n\"1").unwrap().append(&mut out, Head::START, 1, &sample(detail), sealed).unwrap();
        assert_eq!(out.pop(), Some(b'\n'));
        (out, head)
    }

    #[test]
    fn a_line_reads_as_the_documentation_says() {
        let (line, head) = written("x", Some(&[1, 2, 3]));
        let text = std::str::from_utf8(&line).unwrap();
        let zeros = "0".repeat(64);
        let start =
            format!(r#"{{"seq":1,"prev":"{zeros}","group":1,"node":"n\"1","time":"1970-01-01T00:00:00Z","#);
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(r#""details":{"note":"x"},"sealed":"AQID","crc":""#), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        assert_eq!(head.hash, hash(&line));
        assert_eq!(record(text).unwrap(), sample("x"));
        let frame = frame(text).unwrap();
        assert_eq!((&*frame.node, frame.sealed.as_deref()), ("n\"1", Some("AQID")));
    }

    #[test]
    fn the_hash_is_rfc_6962s_leaf_hash() {
        // The leaf hash of the empty string, from the test vectors of the Certificate Transparency project.
        let empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(HEXLOWER.encode(&hash(b"")), empty);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_one_line_and_comes_back(detail: String, sealed: Option<Vec<u8>>) {
            let (line, head) = written(&detail, sealed.as_deref());
            prop_assert!(!line.contains(&b'\n') && !line.contains(&0));
            let (followed, stamp) = follow(Head::START, &line).unwrap();
            prop_assert_eq!(followed, head);
            prop_assert_eq!(stamp.group, 1);
            prop_assert_eq!(record(std::str::from_utf8(&line).unwrap()).unwrap(), sample(&detail));
        }

        #[test]
        fn a_changed_byte_is_noticed(at: prop::sample::Index, change in 1u8..) {
            let (mut line, _) = written("some detail", Some(&[9; 40]));
            let at = at.index(line.len());
            line[at] ^= change;
            prop_assert!(follow(Head::START, &line).is_err());
        }
    }
}
