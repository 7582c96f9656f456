//! Segment files: their names and headers, and the lines in them.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::{head::Head, line::Hex};

/// One segment file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// The sequence number of its first record.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// Reads a segment's lines in order.
pub(crate) struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// Where in the file the buffer starts.
    base: u64,
    /// Where in the buffer the next line starts.
    next: usize,
}

/// What was found where a line should start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole line, without its newline; [`Lines::bytes`] gives it.
    Line { offset: u64, range: Range<usize> },
    /// A zero byte or the file's end, right at the start of a line.
    End,
    /// Some bytes, and then a zero byte or the file's end instead of a newline.
    Cut,
}

const CHUNK: usize = 128 * 1024;

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "leasehold-journal")]
    version: u32,
    first: u64,
    prev: Hex,
}

impl Segment {
    pub(crate) fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{first:020}.log")) }
    }

    /// The segments in a directory, in order. Files with other names are none.
    pub(crate) fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20);
            if let Some(first) = digits.and_then(|digits| digits.parse().ok()) {
                found.push(Self { first, path });
            }
        }
        found.sort();
        Ok(found)
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

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, buffer: Vec::new(), base: 0, next: 0 })
    }

    /// The next line. After [`Found::End`] and [`Found::Cut`] it looks at the file anew.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        let mut searched = 0;
        loop {
            let ahead = self.buffer.get(self.next..).unwrap_or_default();
            let hit = memchr::memchr2(b'\n', 0, ahead.get(searched..).unwrap_or_default())
                .map(|at| at.saturating_add(searched));
            match hit {
                Some(length) if ahead.get(length) == Some(&b'\n') => {
                    let offset = self.offset();
                    let range = self.next..self.next.saturating_add(length);
                    self.next = range.end.saturating_add(1);
                    return Ok(Found::Line { offset, range });
                }
                Some(length) => return Ok(self.ended(length)),
                None => {
                    searched = ahead.len();
                    if self.fill()? == 0 {
                        return Ok(self.ended(searched));
                    }
                }
            }
        }
    }

    /// The bytes of the line that was found last.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Where the next line starts.
    pub(crate) fn offset(&self) -> u64 {
        self.base.saturating_add(self.next as u64)
    }

    /// Forgets what was read ahead, so that the next line is read from the file as it is now.
    fn ended(&mut self, length: usize) -> Found {
        self.base = self.offset();
        self.next = 0;
        self.buffer.clear();
        if length == 0 { Found::End } else { Found::Cut }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.next);
        self.base = self.base.saturating_add(self.next as u64);
        self.next = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled.saturating_add(CHUNK), 0);
        let at = self.base.saturating_add(filled as u64);
        let result = read_some(&self.file, self.buffer.get_mut(filled..).unwrap_or_default(), at);
        self.buffer.truncate(filled.saturating_add(*result.as_ref().unwrap_or(&0)));
        result
    }
}

/// The bytes of a file from `offset` to its last byte that is not zero.
pub(crate) fn remains(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let (mut kept, mut zeros, mut at) = (Vec::new(), 0_usize, offset);
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = read_some(&file, &mut chunk, at)?;
        let read = chunk.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok(kept);
        }
        at = at.saturating_add(count as u64);
        match read.iter().rposition(|byte| *byte != 0) {
            None => zeros = zeros.saturating_add(count),
            Some(last) => {
                kept.resize(kept.len().saturating_add(zeros), 0);
                kept.extend_from_slice(read.get(..=last).unwrap_or_default());
                zeros = count.saturating_sub(last).saturating_sub(1);
            }
        }
    }
}

fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, Found, u64) {
        let (_dir, path) = file(bytes);
        let mut lines = Lines::open(&path).unwrap();
        let mut found = Vec::new();
        loop {
            match lines.next().unwrap() {
                Found::Line { range, .. } => found.push(lines.bytes(range).to_vec()),
                end => return (found, end, lines.offset()),
            }
        }
    }

    #[test]
    fn lines_end_at_zeros_or_at_the_files_end() {
        assert_eq!(all(b""), (vec![], Found::End, 0));
        assert_eq!(all(b"a\nb\n"), (vec![b"a".to_vec(), b"b".to_vec()], Found::End, 4));
        assert_eq!(all(b"a\n\0\0b\n"), (vec![b"a".to_vec()], Found::End, 2));
        assert_eq!(all(b"a\nbc"), (vec![b"a".to_vec()], Found::Cut, 2));
        assert_eq!(all(b"a\nbc\0\0"), (vec![b"a".to_vec()], Found::Cut, 2));
    }

    #[test]
    fn a_line_may_be_longer_than_a_chunk() {
        let mut bytes = vec![b'x'; 3 * CHUNK];
        bytes.extend_from_slice(b"\nshort\n");
        let (found, end, _) = all(&bytes);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3 * CHUNK, 5]);
        assert_eq!(end, Found::End);
    }

    #[test]
    fn what_is_written_later_is_found() {
        let (_dir, path) = file(b"a\nb\0\0\0");
        let mut lines = Lines::open(&path).unwrap();
        assert!(matches!(lines.next().unwrap(), Found::Line { .. }));
        assert_eq!(lines.next().unwrap(), Found::Cut);
        std::fs::write(&path, b"a\nbc\n\0").unwrap();
        let Found::Line { range, offset } = lines.next().unwrap() else { panic!() };
        assert_eq!((lines.bytes(range), offset), (&b"bc"[..], 2));
    }

    #[test]
    fn remains_reach_to_the_last_byte_that_is_not_zero() {
        let mut bytes = vec![0; 2 * CHUNK + 5];
        bytes[1] = 1;
        bytes[CHUNK + 7] = 2;
        let (_dir, path) = file(&bytes);
        assert_eq!(remains(&path, 2).unwrap().len(), CHUNK + 6);
        assert_eq!(remains(&path, 1).unwrap().len(), CHUNK + 7);
        assert!(remains(&path, CHUNK as u64 + 8).unwrap().is_empty());
    }

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
}
