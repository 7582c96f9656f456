//! Keyed tags of values: HMAC-SHA-256 (RFC 2104), in hexadecimal.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use leasehold_core::{ports::ValueMac, record::ValueTag};

/// Tags under one key.
pub(crate) struct Tagger(hmac::Key);

impl Tagger {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self(key)
    }
}

impl ValueMac for Tagger {
    fn tag(&self, bytes: &[u8]) -> ValueTag {
        ValueTag(HEXLOWER.encode(hmac::sign(&self.0, bytes).as_ref()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_sha_256() {
        // RFC 4231, test case 2.
        let tagger = Tagger::new(hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"));
        let tag = tagger.tag(b"what do ya want for nothing?");
        assert_eq!(&*tag.0, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
