//! Segment files: their names, where they are, and their headers.
//!
//! A segment that is written to is `<first sequence number>.log`. One that is closed may have been packed, with zstd, to
//! `….log.zst`, and may have been moved to the archive: the directory, or the link to one, with the name `archive` in the
//! journal's own.

use std::{
    io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::{head::Head, line::Hex};

/// Where the journal's older segments are, in its directory.
pub(crate) const ARCHIVE: &str = "archive";
const PLAIN: &str = ".log";
const PACKED: &str = ".log.zst";

/// One segment file, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The sequence number of its first record.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    /// Whether it is compressed.
    pub(crate) packed: bool,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "leasehold-journal")]
    version: u32,
    first: u64,
    prev: Hex,
}

impl Segment {
    pub(crate) fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{first:020}{PLAIN}")), packed: false }
    }

    /// The segments in the journal's own directory, in order. Files with other names are none.
    pub(crate) fn live(dir: &Path) -> io::Result<Vec<Self>> {
        let mut found = list(dir)?;
        sort(&mut found);
        Ok(found)
    }

    /// Those in the archive, too, if it is there.
    pub(crate) fn all(dir: &Path) -> io::Result<Vec<Self>> {
        let mut found = list(dir)?;
        match list(&dir.join(ARCHIVE)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            archived => found.extend(archived.into_iter().flatten()),
        }
        sort(&mut found);
        Ok(found)
    }

    /// The name of this segment when it is packed.
    pub(crate) fn packed_name(&self) -> String {
        format!("{:020}{PACKED}", self.first)
    }

    fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (digits, packed) = match name.strip_suffix(PACKED) {
            Some(digits) => (digits, true),
            None => (name.strip_suffix(PLAIN)?, false),
        };
        let first = Some(digits).filter(|digits| digits.len() == 20)?.parse().ok()?;
        Some(Self { first, path, packed })
    }

    /// The header of the segment that starts after `head`, with its newline.
    pub(crate) fn header(head: Head) -> Vec<u8> {
        let first = head.seq.saturating_add(1);
        let prev = HEXLOWER.encode(&head.hash);
        format!("{{\"leasehold-journal\":1,\"first\":{first},\"prev\":\"{prev}\"}}\n").into_bytes()
    }

    /// The head before this segment, as its header says; `None` when the header is not one of this file.
    pub(crate) fn before(&self, header: &[u8]) -> Option<Head> {
        let parsed: Header = serde_json::from_slice(header).ok()?;
        let head = Head { seq: self.first.checked_sub(1)?, hash: parsed.prev.0 };
        // Compared as it is written, so that no byte of a header is free.
        let written = Self::header(head);
        (parsed.version == 1 && parsed.first == self.first && written.strip_suffix(b"\n") == Some(header))
            .then_some(head)
    }
}

fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.extend(Segment::parse(entry?.path()));
    }
    Ok(found)
}

/// In order, each once: what a crash has left in two forms, or in two places, is the same. The first place counts, and
/// the plain form.
fn sort(found: &mut Vec<Segment>) {
    // The sort is stable, so that the journal's own come before the archived ones.
    found.sort_by_key(|segment| (segment.first, segment.packed));
    found.dedup_by_key(|segment| segment.first);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_header_is_free() {
        let head = Head { seq: 41, hash: [7; 32] };
        let header = Segment::header(head);
        let header = header.strip_suffix(b"\n").unwrap();
        let segment = Segment::new(Path::new("/x"), 42);
        assert_eq!(segment.path, Path::new("/x/00000000000000000042.log"));
        assert_eq!(segment.before(header), Some(head));
        assert_eq!(Segment::new(Path::new("/x"), 43).before(header), None);
        let spaced = String::from_utf8(header.to_vec()).unwrap().replace(":42", ": 42");
        assert_eq!(segment.before(spaced.as_bytes()), None);
    }

    #[test]
    fn what_is_there_twice_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
        let name = |first: u64, end: &str| format!("{first:020}{end}");
        file(&name(9, ".log"));
        file(&name(5, ".log.zst"));
        file(&name(5, ".log"));
        file(&name(7, ".log.zst.new"));
        file("next.tmp");
        let firsts = |found: io::Result<Vec<Segment>>| {
            found.unwrap().iter().map(|segment| (segment.first, segment.packed)).collect::<Vec<_>>()
        };
        assert_eq!(firsts(Segment::live(dir.path())), [(5, false), (9, false)]);
        assert_eq!(firsts(Segment::all(dir.path())), [(5, false), (9, false)]);
        std::fs::create_dir(dir.path().join(ARCHIVE)).unwrap();
        file(&format!("archive/{}", name(1, ".log.zst")));
        file(&format!("archive/{}", name(5, ".log.zst")));
        assert_eq!(firsts(Segment::live(dir.path())), [(5, false), (9, false)]);
        assert_eq!(firsts(Segment::all(dir.path())), [(1, true), (5, false), (9, false)]);
    }
}
