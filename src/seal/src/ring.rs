//! The key ring: seals with the newest key, opens with any.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{self, Aad},
    rand,
};
use leasehold_core::{
    ports::{Entropy, ValueMac},
    secret::SecretBytes,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    envelope::{Envelope, associated},
    key::{Key, KeyId, Raw, Subkey, following, tag_key},
    keyfile::{self, KeyRingError},
    tag::Tagger,
};

/// Several keys: the first seals, all of them open; and one key for value tags, which does not change when a sealing key
/// is added, so that tags stay comparable.
pub struct KeyRing {
    /// INVARIANT: not empty; the sealing subkey is the first one's.
    keys: Vec<Key>,
    tagging: Raw,
    tagger: Arc<Tagger>,
    sealing: RwLock<Arc<Subkey>>,
}

/// Why something was not sealed or opened. Never says anything of the content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// It was sealed by a key that this ring does not have.
    #[error("it was sealed with the key {id}, which is not in the key ring: put that key back into the ring")]
    UnknownKey {
        /// The key that is missing.
        id: KeyId,
    },
    /// Changed, cut, put into another's place, or never sealed.
    #[error("the sealed bytes are damaged, or belong in another place")]
    Damaged,
    /// The system gave no randomness, so nothing was sealed.
    #[error("nothing can be sealed: the system gave no randomness")]
    NoEntropy,
    /// More than AES-GCM takes at once.
    #[error("{0} bytes are too many to seal at once")]
    TooLong(usize),
}

/// The fewest bytes that a key may follow from.
const LEAST: usize = 16;

impl KeyRing {
    /// A ring of one new key, in memory only: for tests and for the making of a file.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, KeyRingError> {
        let draw = || {
            let mut raw = Zeroizing::new([0; 32]);
            entropy.fill(&mut *raw).map(|()| raw)
        };
        let sealing = draw().map_err(|_| KeyRingError::NoEntropy)?;
        let tagging = draw().map_err(|_| KeyRingError::NoEntropy)?;
        Self::assemble(vec![Key::new(sealing).ok_or(KeyRingError::NoEntropy)?], tagging)
    }

    /// Makes a new key and writes it to `path`, readable by its owner only. Never overwrites.
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written; nothing is left behind then.
    pub fn create_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyRingError> {
        let ring = Self::generate(entropy)?;
        keyfile::create(path, &keyfile::print(&ring.keys, &ring.tagging))?;
        Ok(ring)
    }

    /// Reads the ring from a file that nobody but its owner can read, or from a systemd credential.
    ///
    /// # Errors
    /// Names the file, what is wrong with it and the way out.
    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        let text = keyfile::read(path, keyfile::credentials_directory().as_deref())?;
        let (keys, tagging) = keyfile::parse(&text).map_err(|(line, fault)| KeyRingError::Malformed {
            path: path.to_owned(),
            line,
            fault,
        })?;
        Self::assemble(keys, tagging)
    }

    /// A ring of one key that follows from a secret which is there for something else, such as a private key, by
    /// HKDF-SHA-256 (RFC 5869). The same secret gives the same ring for the same `purpose`, and another for another.
    /// `None` when `secret` has fewer than 16 bytes: nobody's key is that short.
    pub fn following(secret: &[u8], purpose: &str) -> Option<Self> {
        let named = |what: &str| following(secret, format!("{purpose}: {what}").as_bytes());
        let long_enough = secret.len() >= LEAST;
        let sealing = Key::new(long_enough.then(|| named("sealing"))??)?;
        Self::assemble(vec![sealing], named("tagging")?).ok()
    }

    pub(crate) fn assemble(keys: Vec<Key>, tagging: Raw) -> Result<Self, KeyRingError> {
        let first = keys.first().ok_or(KeyRingError::NoEntropy)?;
        let sealing = fresh_subkey(first).ok_or(KeyRingError::NoEntropy)?;
        let tagger = Tagger::new(tag_key(&tagging).ok_or(KeyRingError::NoEntropy)?);
        Ok(Self { keys, tagging, tagger: Arc::new(tagger), sealing: RwLock::new(Arc::new(sealing)) })
    }

    /// Seals `plain` for `context`: only with the same context does it open again.
    ///
    /// # Errors
    /// When there is no randomness, or it is longer than AES-GCM takes (64 GiB).
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_written(context, plain.len(), |out| out.extend_from_slice(plain))
    }

    /// Seals what `write` appends to a buffer with `room` for it, for `context`: it is nowhere in clear but there.
    ///
    /// # Errors
    /// As [`KeyRing::seal`].
    pub fn seal_written(
        &self,
        context: &[u8],
        room: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, SealError> {
        let first = self.keys.first().ok_or(SealError::NoEntropy)?;
        let subkey = self.subkey(first)?;
        let mut nonce = [0; 12];
        rand::fill(&mut nonce).map_err(|_| SealError::NoEntropy)?;

        let mut sealed = Envelope::start(first.id(), &subkey.salt, &nonce, room);
        let header = sealed.len();
        write(&mut sealed);
        let body = sealed.get_mut(header..).unwrap_or_default();
        let aad = Aad::from(associated(first.id(), context));
        match subkey.aead.seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(nonce), aad, body) {
            Ok(tag) => {
                sealed.extend_from_slice(tag.as_ref());
                Ok(sealed)
            }
            Err(_) => {
                let length = sealed.len().saturating_sub(header);
                zeroize::Zeroize::zeroize(&mut sealed);
                Err(SealError::TooLong(length))
            }
        }
    }

    /// Opens what was sealed for `context`.
    ///
    /// # Errors
    /// When the key is not in the ring, or the bytes are not what was sealed for this context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<SecretBytes, SealError> {
        let envelope = Envelope::parse(sealed).ok_or(SealError::Damaged)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id() == envelope.key)
            .ok_or(SealError::UnknownKey { id: envelope.key })?;
        let aead = key.opening(&envelope.salt).ok_or(SealError::Damaged)?;
        let aad = Aad::from(associated(envelope.key, context));
        let mut buffer = Zeroizing::new(envelope.body.to_vec());
        let nonce = aead::Nonce::assume_unique_for_key(envelope.nonce);
        let length =
            aead.open_in_place(nonce, aad, buffer.as_mut_slice()).map_err(|_| SealError::Damaged)?.len();
        buffer.truncate(length);
        Ok(SecretBytes::new(std::mem::take(&mut *buffer)))
    }

    /// What makes keyed tags of values. The same for every ring made from this one by adding or removing sealing keys.
    pub fn value_mac(&self) -> Arc<dyn ValueMac> {
        Arc::clone(&self.tagger) as Arc<dyn ValueMac>
    }

    /// The keys by name, the sealing one first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(Key::id)
    }

    fn subkey(&self, first: &Key) -> Result<Arc<Subkey>, SealError> {
        let current = Arc::clone(&self.sealing.read().unwrap_or_else(PoisonError::into_inner));
        if current.take() {
            return Ok(current);
        }
        let next = Arc::new(fresh_subkey(first).ok_or(SealError::NoEntropy)?);
        *self.sealing.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        Ok(next)
    }
}

fn fresh_subkey(key: &Key) -> Option<Subkey> {
    let mut salt = [0; 12];
    rand::fill(&mut salt).ok()?;
    key.subkey(salt)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.key_ids().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SystemEntropy;

    fn ring() -> KeyRing {
        KeyRing::generate(&SystemEntropy).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_and_two_sealings_differ() {
        let ring = ring();
        let one = ring.seal(b"lease/1", b"handle").unwrap();
        let two = ring.seal(b"lease/1", b"handle").unwrap();
        assert_ne!(one, two);
        assert_eq!(one.len(), b"handle".len() + crate::envelope::OVERHEAD);
        assert_eq!(ring.open(b"lease/1", &one).unwrap().expose(), b"handle");
        assert_eq!(ring.open(b"lease/1", &two).unwrap().expose(), b"handle");
    }

    #[test]
    fn another_ring_says_which_key_is_missing() {
        let (mine, other) = (ring(), ring());
        let sealed = mine.seal(b"", b"x").unwrap();
        let id = mine.key_ids().next().unwrap();
        assert_eq!(other.open(b"", &sealed).unwrap_err(), SealError::UnknownKey { id });
    }

    #[test]
    fn an_added_key_seals_and_the_old_one_still_opens_with_the_same_tags() {
        let old = ring();
        let sealed = old.seal(b"c", b"x").unwrap();
        let text = keyfile::print(&old.keys, &old.tagging);
        let (mut keys, tagging) = keyfile::parse(&text).unwrap();
        keys.insert(0, Key::new(Zeroizing::new([7; 32])).unwrap());
        let new = KeyRing::assemble(keys, tagging).unwrap();

        assert_eq!(new.open(b"c", &sealed).unwrap().expose(), b"x");
        assert!(matches!(old.open(b"c", &new.seal(b"c", b"y").unwrap()), Err(SealError::UnknownKey { .. })));
        assert_eq!(new.value_mac().tag(b"value"), old.value_mac().tag(b"value"));
    }

    #[test]
    fn a_ring_that_follows_from_a_secret_is_the_same_each_time() {
        let following = |secret: &[u8], purpose| KeyRing::following(secret, purpose).unwrap();
        let sealed = following(b"a private key of 1 kind", "cache").seal(b"c", b"x").unwrap();
        assert_eq!(
            following(b"a private key of 1 kind", "cache").open(b"c", &sealed).unwrap().expose(),
            b"x"
        );
        for other in
            [following(b"a private key of 2 kind", "cache"), following(b"a private key of 1 kind", "more")]
        {
            assert!(matches!(other.open(b"c", &sealed), Err(SealError::UnknownKey { .. })));
        }
        assert!(KeyRing::following(b"too short", "cache").is_none());
    }

    #[test]
    fn a_worn_subkey_is_replaced() {
        let ring = ring();
        let before = Arc::clone(&ring.sealing.read().unwrap());
        before.wear_out();
        let sealed = ring.seal(b"", b"x").unwrap();
        assert_ne!(ring.sealing.read().unwrap().salt, before.salt);
        assert_eq!(ring.open(b"", &sealed).unwrap().expose(), b"x");
    }

    #[test]
    fn debug_shows_ids_only() {
        let ring = ring();
        let shown = format!("{ring:?}");
        assert!(shown.contains(&ring.key_ids().next().unwrap().to_string()));
        let secret = data_encoding::BASE64.encode(ring.keys.first().unwrap().raw());
        assert!(!shown.contains(&secret), "{shown}");
    }

    #[test]
    fn what_is_written_into_the_seal_opens_as_well() {
        let ring = ring();
        for room in [0, 6, 100] {
            let sealed = ring.seal_written(b"lease/1", room, |out| out.extend_from_slice(b"handle")).unwrap();
            assert_eq!(ring.open(b"lease/1", &sealed).unwrap().expose(), b"handle");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_refused(plain: Vec<u8>, at: prop::sample::Index, change in 1u8..) {
            let ring = ring();
            let mut sealed = ring.seal(b"context", &plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= change;
            prop_assert!(ring.open(b"context", &sealed).is_err());
        }

        #[test]
        fn another_context_is_refused(plain: Vec<u8>, one: Vec<u8>, two: Vec<u8>) {
            let ring = ring();
            let sealed = ring.seal(&one, &plain).unwrap();
            let opened = ring.open(&two, &sealed);
            prop_assert_eq!(opened.is_ok(), one == two);
        }

        #[test]
        fn a_cut_is_refused(plain: Vec<u8>, at: prop::sample::Index) {
            let ring = ring();
            let sealed = ring.seal(b"context", &plain).unwrap();
            let cut = &sealed[..at.index(sealed.len())];
            prop_assert_eq!(ring.open(b"context", cut).unwrap_err(), SealError::Damaged);
        }
    }
}
