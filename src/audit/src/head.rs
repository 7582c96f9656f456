//! Where a journal ends.

use std::fmt;

use data_encoding::HEXLOWER;

/// A record's place in the chain: its sequence number and the hash of its line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The sequence number; 0 when there is no record.
    pub seq: u64,
    /// RFC 6962's leaf hash of the line; all zeros when there is none.
    pub hash: [u8; 32],
}

impl Head {
    /// Before the first record.
    pub const START: Self = Self { seq: 0, hash: [0; 32] };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, HEXLOWER.encode(&self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
