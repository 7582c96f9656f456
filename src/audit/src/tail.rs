//! What stands behind the last good record: nothing, a write that a crash has torn, or damage.

use std::{io, path::Path};

use crate::{line, segment};

/// Bytes where the next record should start.
pub(crate) struct Tail {
    pub(crate) offset: u64,
    /// Up to the last byte that is not zero; not empty.
    pub(crate) bytes: Vec<u8>,
}

impl Tail {
    /// What is behind `offset` in a segment; `None` when it is all zeros.
    pub(crate) fn read(path: &Path, offset: u64) -> io::Result<Option<Self>> {
        let bytes = segment::remains(path, offset)?;
        Ok((!bytes.is_empty()).then_some(Self { offset, bytes }))
    }

    /// Whether a crash in the middle of a write explains these bytes, where record `next` should be.
    ///
    /// A segment is all zeros before it is written to, a group is written in one piece, and the next group only when it is
    /// durable. So a torn write shows as a record that is cut by zeros or by the file's end, and nothing of a later group
    /// can be behind it. A whole line that does not check was written whole: that is damage.
    pub(crate) fn is_torn(&self, next: u64) -> bool {
        let mut pieces = self.bytes.split_inclusive(|byte| matches!(byte, b'\n' | 0));
        let first = pieces.next().unwrap_or_default();
        let whole_record = first.starts_with(line::START) && first.ends_with(b"\n");
        let later_group = |piece: &[u8]| {
            let line = piece.strip_suffix(b"\n")?;
            line::stamp(line).ok().map(|stamp| stamp.group > next)
        };
        !whole_record && !pieces.any(|piece| later_group(piece) == Some(true))
    }
}
