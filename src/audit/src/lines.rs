//! The lines of one segment file, plain or packed.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    ops::Range,
    os::unix::fs::FileExt,
};

use crate::segment::Segment;

/// Reads a segment's lines in order.
pub(crate) struct Lines {
    source: Source,
    buffer: Vec<u8>,
    /// Where in the segment the buffer starts.
    base: u64,
    /// Where in the buffer the next line starts.
    next: usize,
}

enum Source {
    Plain(File),
    /// It is closed: it is read once, and what it ends with is its end.
    Packed(Box<zstd::Decoder<'static, BufReader<File>>>),
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

impl Lines {
    pub(crate) fn open(segment: &Segment) -> io::Result<Self> {
        let file = File::open(&segment.path)?;
        let source = match segment.packed {
            false => Source::Plain(file),
            true => Source::Packed(Box::new(zstd::Decoder::new(file)?)),
        };
        Ok(Self { source, buffer: Vec::new(), base: 0, next: 0 })
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

    /// The segment's bytes from `offset`, where its lines ended, to its last byte that is not zero.
    pub(crate) fn remains(&self, offset: u64) -> io::Result<Vec<u8>> {
        match &self.source {
            Source::Plain(file) => remains(file, offset),
            // Its lines end where it ends.
            Source::Packed(_) => Ok(Vec::new()),
        }
    }

    /// Forgets what was read ahead, so that the next line is read from the file as it is now.
    fn ended(&mut self, length: usize) -> Found {
        let ahead = self.buffer.len().saturating_sub(self.next);
        self.base = self.offset();
        self.next = 0;
        self.buffer.clear();
        match &self.source {
            Source::Plain(_) if length == 0 => Found::End,
            // Nobody packs zeros.
            Source::Packed(_) if length == 0 && ahead == 0 => Found::End,
            _ => Found::Cut,
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.next);
        self.base = self.base.saturating_add(self.next as u64);
        self.next = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled.saturating_add(CHUNK), 0);
        let at = self.base.saturating_add(filled as u64);
        let result = self.source.read(self.buffer.get_mut(filled..).unwrap_or_default(), at);
        self.buffer.truncate(filled.saturating_add(*result.as_ref().unwrap_or(&0)));
        result
    }
}

impl Source {
    fn read(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => read_some(file, buffer, at),
            Self::Packed(decoder) => decoder.read(buffer),
        }
    }
}

/// The bytes of a file from `offset` to its last byte that is not zero.
fn remains(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let (mut kept, mut zeros, mut at) = (Vec::new(), 0_usize, offset);
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = read_some(file, &mut chunk, at)?;
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

    fn file(bytes: &[u8]) -> (tempfile::TempDir, Segment) {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::new(dir.path(), 1);
        std::fs::write(&segment.path, bytes).unwrap();
        (dir, segment)
    }

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, Found, u64) {
        let (_dir, segment) = file(bytes);
        let mut lines = Lines::open(&segment).unwrap();
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
        let (_dir, segment) = file(b"a\nb\0\0\0");
        let mut lines = Lines::open(&segment).unwrap();
        assert!(matches!(lines.next().unwrap(), Found::Line { .. }));
        assert_eq!(lines.next().unwrap(), Found::Cut);
        std::fs::write(&segment.path, b"a\nbc\n\0").unwrap();
        let Found::Line { range, offset } = lines.next().unwrap() else { panic!() };
        assert_eq!((lines.bytes(range), offset), (&b"bc"[..], 2));
    }

    #[test]
    fn remains_reach_to_the_last_byte_that_is_not_zero() {
        let mut bytes = vec![0; 2 * CHUNK + 5];
        bytes[1] = 1;
        bytes[CHUNK + 7] = 2;
        let (_dir, segment) = file(&bytes);
        let lines = Lines::open(&segment).unwrap();
        assert_eq!(lines.remains(2).unwrap().len(), CHUNK + 6);
        assert_eq!(lines.remains(1).unwrap().len(), CHUNK + 7);
        assert!(lines.remains(CHUNK as u64 + 8).unwrap().is_empty());
    }

    #[test]
    fn packed_lines_are_the_same_and_end_with_the_file() {
        let (dir, _) = file(b"");
        let packed = |bytes: &[u8]| {
            let path = dir.path().join("packed");
            std::fs::write(&path, zstd::encode_all(bytes, 1).unwrap()).unwrap();
            Lines::open(&Segment { first: 1, path, packed: true }).unwrap()
        };
        let mut bytes = vec![b'x'; 3 * CHUNK];
        bytes.extend_from_slice(b"\nshort\n");
        let mut lines = packed(&bytes);
        let Found::Line { range, .. } = lines.next().unwrap() else { panic!() };
        assert_eq!(lines.bytes(range).len(), 3 * CHUNK);
        let Found::Line { range, offset } = lines.next().unwrap() else { panic!() };
        assert_eq!((lines.bytes(range), offset), (&b"short"[..], 3 * CHUNK as u64 + 1));
        assert_eq!(lines.next().unwrap(), Found::End);
        for cut in [&b"a\nbc"[..], b"a\n\0b\n", b"a\n\0"] {
            let mut lines = packed(cut);
            assert!(matches!(lines.next().unwrap(), Found::Line { .. }));
            assert_eq!(lines.next().unwrap(), Found::Cut, "{cut:?}");
        }
    }
}
