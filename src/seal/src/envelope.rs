//! The header in front of every sealed value: version (1 byte), key id (8), salt (12), nonce (12); then ciphertext and tag.

use crate::key::KeyId;

/// The only form there is.
pub(crate) const VERSION: u8 = 1;
/// Picks the subkey; the same for all that one process seals.
pub(crate) type Salt = [u8; 12];
/// Drawn for each value.
pub(crate) type Nonce = [u8; 12];

/// A header with what follows it.
pub(crate) struct Envelope<'a> {
    pub(crate) key: KeyId,
    pub(crate) salt: Salt,
    pub(crate) nonce: Nonce,
    pub(crate) body: &'a [u8],
}

/// What the header and the tag add to a value.
pub(crate) const OVERHEAD: usize = 1 + 8 + 12 + 12 + 16;

impl<'a> Envelope<'a> {
    /// Takes sealed bytes apart; `None` when they are none.
    pub(crate) fn parse(sealed: &'a [u8]) -> Option<Self> {
        let (version, rest) = sealed.split_first()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<12>()?;
        let (nonce, body) = rest.split_first_chunk::<12>()?;
        (*version == VERSION).then_some(Self {
            key: KeyId::from_bytes(*key),
            salt: *salt,
            nonce: *nonce,
            body,
        })
    }

    /// The header alone, in a buffer with room for `plain` and its tag.
    pub(crate) fn start(key: KeyId, salt: &Salt, nonce: &Nonce, plain: usize) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.saturating_add(OVERHEAD));
        sealed.push(VERSION);
        sealed.extend_from_slice(key.as_bytes());
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(nonce);
        sealed
    }
}

/// What is authenticated besides the value: the form, the key and the context. Salt and nonce authenticate themselves.
pub(crate) fn associated(key: KeyId, context: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(context.len().saturating_add(9));
    data.push(VERSION);
    data.extend_from_slice(key.as_bytes());
    data.extend_from_slice(context);
    data
}
