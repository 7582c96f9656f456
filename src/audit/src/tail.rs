//! What stands behind the last good record: nothing, a write that a crash has torn, or damage.

use crate::line;

/// Bytes where the next record should start.
pub(crate) struct Tail {
    pub(crate) offset: u64,
    /// Up to the last byte that is not zero; not empty.
    pub(crate) bytes: Vec<u8>,
}

impl Tail {
    /// What is behind `offset` in a segment, up to the last byte that is not zero; `None` when there is nothing.
    pub(crate) fn new(offset: u64, bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self { offset, bytes })
    }

    /// Whether a crash in the middle of a write explains these bytes, where record `next` should be.
    ///
    /// A segment is all zeros before it is written to, a group is written in one piece, and the next group only when it is
    /// durable. So a torn write leaves each byte as it was written or zero: it shows as the start of a record that is cut by
    /// zeros or by the file's end, and nothing of a later group can be behind it. Bytes that nobody wrote there, and a
    /// whole line that does not check, are damage.
    pub(crate) fn is_torn(&self, next: u64) -> bool {
        let mut pieces = self.bytes.split_inclusive(|byte| matches!(byte, b'\n' | 0));
        let later_group = |piece: &[u8]| {
            let line = piece.strip_suffix(b"\n")?;
            line::stamp(line).ok().map(|stamp| stamp.group > next)
        };
        pieces.next().is_none_or(is_cut_line) && !pieces.any(|piece| later_group(piece) == Some(true))
    }
}

/// Whether zeros took the end of a line, and nothing else happened to it.
fn is_cut_line(piece: &[u8]) -> bool {
    let cut = piece.strip_suffix(&[0]).unwrap_or(piece);
    let begins_as_a_line = cut.starts_with(line::START) || line::START.starts_with(cut);
    let goes_on_behind_a_line = cut.split_last().is_some_and(|(_, line)| line::stamp(line).is_ok());
    begins_as_a_line && !cut.ends_with(b"\n") && !goes_on_behind_a_line
}
