//! Numbers and byte strings in durable binary forms: LEB128 lengths (DWARF 5, section 7.6; unsigned), then the bytes.
//!
//! What is written so is meant to be short. It names no fields and has no version: the form that it is part of says both.

/// Appends `n`, seven bits a byte, the lowest first: 1 to 10 bytes.
#[inline]
pub fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

/// Appends the length of `bytes`, then `bytes`.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what was put. `None` from any method: the bytes are not what was put.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What [`put_number`] wrote.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// What [`put_bytes`] wrote.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    /// What was not read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether all of it was read.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_one_form_for_ever() {
        for (n, form) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
            let mut out = Vec::new();
            put_number(&mut out, n);
            assert_eq!(out, form, "{n}");
        }
        let mut largest = Vec::new();
        put_number(&mut largest, u64::MAX);
        assert_eq!(largest.len(), 10);
        assert_eq!(Reader::new(&[0xff; 10]).number(), None, "it does not end");
    }

    proptest! {
        #[test]
        fn what_was_put_is_read(n: u64, bytes: Vec<u8>, behind: Vec<u8>) {
            let mut out = Vec::new();
            put_number(&mut out, n);
            put_bytes(&mut out, &bytes);
            out.extend_from_slice(&behind);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), Some(n));
            prop_assert_eq!(reader.bytes(), Some(&bytes[..]));
            prop_assert_eq!(reader.rest(), &behind[..]);
            prop_assert_eq!(reader.is_empty(), behind.is_empty());
        }

        #[test]
        fn anything_can_be_read_without_harm(noise: Vec<u8>) {
            let mut reader = Reader::new(&noise);
            while reader.bytes().is_some() {}
            prop_assert!(reader.rest().len() <= noise.len());
        }
    }
}
